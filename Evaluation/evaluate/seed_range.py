"""Parse `--seeds`, the episodes of an evaluation."""

from __future__ import annotations

import re

from Common.errors import UserError
from Common.names import counted
from Enviroment import seeds

_TRAINING = {
    seeds.DATASET: "of datasets",
    seeds.TRAINING: "that students train on",
    seeds.TEACHER_TRAINING: "that teachers train on",
    seeds.MORE_TRAINING: "that students train on",
    seeds.MORE_TEACHER_TRAINING: "that teachers train on",
}
_OTHERS = {
    seeds.VALIDATION: "for selecting students",
    seeds.EVALUATION: "for evaluation only",
}
_NAMES = {"evaluation": seeds.EVALUATION, "validation": seeds.VALIDATION}


def parse_seeds(
    text: str, n_episodes: int | None, default: int, *, allow_training: bool = False
) -> range:
    """Return the seeds of the episodes, in order.

    Args:
        text: `evaluation`, `validation`, or `FIRST:STOP` (excluding STOP) within one of the ranges
            of `Enviroment.seeds`.
        n_episodes: number of episodes; None: `default` for a named range, all of FIRST:STOP.
        allow_training: whether to allow training seeds. A student's return on these measures how
            well it fits its training episodes, not how well it generalises.

    Raises:
        UserError: the text is not a known range of seeds, the range holds training seeds, or it
            has fewer seeds than episodes.
    """
    if n_episodes is not None and n_episodes < 1:
        raise UserError(f"--episodes {n_episodes} must be at least 1.")
    if text in _NAMES:
        first = _NAMES[text].start
        return range(first, first + (default if n_episodes is None else n_episodes))
    match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", text)
    if match is None:
        raise UserError(f"--seeds {text!r} is not one of evaluation, validation, FIRST:STOP.")
    given = range(int(match[1]), int(match[2]))
    _check_known(text, given, allow_training)
    if n_episodes is not None and n_episodes > len(given):
        raise UserError(f"--seeds {text} has {counted(len(given), 'seed')}, fewer than --episodes.")
    return given if n_episodes is None else given[:n_episodes]


def describe_seeds(episodes: range) -> str:
    """Return a description for titles, e.g. "100 unseen seeds"."""
    for block, name in ((seeds.EVALUATION, "unseen"), (seeds.VALIDATION, "validation")):
        if episodes.start in block:
            return counted(len(episodes), f"{name} seed")
    return counted(len(episodes), "training seed")


def _check_known(text: str, given: range, allow_training: bool) -> None:
    if not given:
        raise UserError(f"--seeds {text} is empty: STOP must be above FIRST.")
    for block, what in _TRAINING.items():
        if not allow_training and given.start < block.stop and block.start < given.stop:
            raise UserError(
                f"--seeds {text} holds seeds {what} ({block.start}:{block.stop}), on which returns "
                "do not measure generalisation. Add --allow_training_seeds to use them anyway."
            )
    blocks = {**_TRAINING, **_OTHERS}
    if not any(given[0] in block and given[-1] in block for block in blocks):
        known = ", ".join(f"{b.start}:{b.stop} ({what})" for b, what in blocks.items())
        raise UserError(f"--seeds {text} is not within one of the known ranges: {known}.")
