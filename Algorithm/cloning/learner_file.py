"""A saved training in a folder: a checkpoint of its own, beside the student's bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Common.differences import differences
from Common.errors import UserError
from Common.runs.checkpoint import CheckpointStore
from Common.runs.packing import pack

LEARNER = "learner"  # the folder, and the checkpoint's part
TEACHER_IDENTITY = "teacher_identity"
MADE_WITH, METHOD, GENERATORS = "made_with", "method", "generators"


def write_learner(folder: Path, state: Mapping[str, Any]) -> None:
    """Replaces what the folder holds of a training, all or nothing.

    Raises:
        UserError: it cannot be written; what was there before stays.
    """
    tensors, values = pack(state)
    CheckpointStore(folder / LEARNER, keep=1).replace({LEARNER: tensors}, {LEARNER: values})


def read_learner(folder: Path) -> dict[str, Any]:
    """What `write_learner` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    found = CheckpointStore(folder / LEARNER).newest()
    if found is None or LEARNER not in found.values:
        raise UserError(
            f"There is no whole training to go on with in {folder / LEARNER}. Give a folder that "
            "`save` wrote, or copy it anew."
        )
    return found.unpacked(LEARNER)


def settings_of(state: Mapping[str, Any], method: str) -> dict[str, Any]:
    """How the learner was made whose state this is.

    Args:
        method: which it must be, the class's name.

    Raises:
        UserError: it is none, or of another method.
    """
    saved = state.get(MADE_WITH)
    if not isinstance(saved, dict) or saved.get(METHOD) != method:
        found = saved.get(METHOD) if isinstance(saved, dict) else "something else"
        raise UserError(f"The saved state holds no {method} training, but {found}.")
    return saved


def check_made_alike(state: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    """Refuses the state of a learner that was made otherwise.

    Raises:
        UserError: lists what differs.
    """
    saved = settings_of(state, made_with[METHOD])
    # One that an older version saved does not name what it did not know.
    known = {name: v for name, v in made_with.items() if name in saved or name != TEACHER_IDENTITY}
    differ = differences(saved, known)
    if differ:
        raise UserError(
            f"The saved state is of another training: {'; '.join(differ)}. Go on with the dataset "
            "and the settings that it was started with."
        )
