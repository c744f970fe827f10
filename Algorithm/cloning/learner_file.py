"""Save and load a training as a checkpoint in a folder with the student's bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Common.differences import differences
from Common.errors import UserError
from Common.runs.checkpoint import CheckpointStore
from Common.runs.packing import pack

LEARNER = "learner"  # name of the folder, and of the checkpoint's part
TEACHER_IDENTITY = "teacher_identity"
MADE_WITH, METHOD, GENERATORS = "made_with", "method", "generators"


def write_learner(folder: Path, state: Mapping[str, Any]) -> None:
    """Save a training in a folder atomically, replacing an older one.

    Raises:
        UserError: the folder cannot be written. An older training is kept.
    """
    tensors, values = pack(state)
    CheckpointStore(folder / LEARNER, keep=1).replace({LEARNER: tensors}, {LEARNER: values})


def read_learner(folder: Path) -> dict[str, Any]:
    """Return the state of `write_learner`.

    Raises:
        UserError: the training is missing or damaged.
    """
    found = CheckpointStore(folder / LEARNER).newest()
    if found is None or LEARNER not in found.values:
        raise UserError(
            f"There is no complete training to resume in {folder / LEARNER}. Give a folder that "
            "`save` wrote, or copy it again."
        )
    return found.unpacked(LEARNER)


def settings_of(state: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the settings of the learner in a saved state.

    Args:
        method: the expected name of the class.

    Raises:
        UserError: the state is not of a learner, or of another class.
    """
    saved = state.get(MADE_WITH)
    if not isinstance(saved, dict) or saved.get(METHOD) != method:
        found = saved.get(METHOD) if isinstance(saved, dict) else "something else"
        raise UserError(f"The saved state does not hold a {method} training, but {found}.")
    return saved


def check_made_alike(state: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    """Raise UserError for the state of a learner with other settings.

    Raises:
        UserError: settings differ. The message lists them.
    """
    saved = settings_of(state, made_with[METHOD])
    # States of versions without these settings have been trained with losses that do not use it.
    newer = {name: made_with["config"][name] for name in ("nll_beta", "sequence_length")}
    saved = {**saved, "config": {**newer, **saved["config"]}}
    # States of older versions lack the teacher's identity.
    known = {name: v for name, v in made_with.items() if name in saved or name != TEACHER_IDENTITY}
    differ = differences(saved, known)
    if differ:
        raise UserError(
            f"The saved state is of another training: {'; '.join(differ)}. Continue with the "
            "dataset and the settings of its start."
        )
