"""`--seeds`: which episodes an evaluation plays."""

from __future__ import annotations

import re

from Common.errors import UserError
from Enviroment import seeds

_TRAINING = {
    "of datasets": seeds.DATASET,
    "that students train on": seeds.TRAINING,
    "that teachers train on": seeds.TEACHER_TRAINING,
}
_OTHERS = {
    "that chose students": seeds.VALIDATION,
    "that neither trained nor chose anything": seeds.EVALUATION,
}
_NAMES = {"evaluation": seeds.EVALUATION, "validation": seeds.VALIDATION}


def parse_seeds(
    text: str, n_episodes: int | None, default: int, *, allow_training: bool = False
) -> range:
    """The seeds of the episodes, in their order.

    Args:
        text: `evaluation`, `validation`, or `FIRST:STOP` (without STOP) within one of the ranges
            of `Enviroment.seeds`.
        n_episodes: how many, from the first on; None: `default` of a named range, all of
            FIRST:STOP.
        allow_training: also seeds that trained something. A student's return there tells how well
            it learned what it saw, not how good it is.

    Raises:
        UserError: it is no range of seeds that are known, it trained something, or it has fewer
            seeds than episodes.
    """
    if n_episodes is not None and n_episodes < 1:
        raise UserError(f"--episodes {n_episodes} must be at least 1.")
    if text in _NAMES:
        first = _NAMES[text].start
        return range(first, first + (default if n_episodes is None else n_episodes))
    match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", text)
    if match is None:
        raise UserError(f"--seeds {text!r} is none of evaluation, validation, FIRST:STOP.")
    given = range(int(match[1]), int(match[2]))
    _check_known(text, given, allow_training)
    if n_episodes is not None and n_episodes > len(given):
        raise UserError(f"--seeds {text} are {len(given)} seeds, fewer than --episodes.")
    return given if n_episodes is None else given[:n_episodes]


def describe_seeds(episodes: range) -> str:
    """For the title of a table: "100 unseen seeds"."""
    for block, name in ((seeds.EVALUATION, "unseen"), (seeds.VALIDATION, "validation")):
        if episodes.start in block:
            return f"{len(episodes)} {name} seeds"
    return f"{len(episodes)} training seeds"


def _check_known(text: str, given: range, allow_training: bool) -> None:
    if not given:
        raise UserError(f"--seeds {text} holds no seed: STOP must be above FIRST.")
    for what, block in _TRAINING.items():
        if not allow_training and given.start < block.stop and block.start < given.stop:
            raise UserError(
                f"--seeds {text} holds seeds {what} ({block.start}:{block.stop}), where a return "
                "does not tell how good a student is. --allow_training_seeds plays them anyway."
            )
    blocks = {**_TRAINING, **_OTHERS}
    if not any(given[0] in block and given[-1] in block for block in blocks.values()):
        known = ", ".join(f"{b.start}:{b.stop} ({what})" for what, b in blocks.items())
        raise UserError(f"--seeds {text} lies in no one of the ranges that are known: {known}.")
