"""The file from which a supervised training goes on: tensors and plain values, no code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from Enviroment.durable import replacing
from Enviroment.errors import UserError

LEARNER_FILE = "learner.pt"


def write_learner(folder: Path, state: dict[str, Any]) -> None:
    """Replaces the folder's file, all or nothing.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / LEARNER_FILE
    try:
        with replacing(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        # torch's own error, where writing fails under it, says nothing of the disk.
        reason = error.strerror if isinstance(error, OSError) else "not all of it was taken"
        raise UserError(
            f"{path} cannot be written: {reason}. Make room, or name another --output."
        ) from error


def read_learner(folder: Path) -> dict[str, Any]:
    """What `write_learner` wrote; nothing in it is executed.

    Raises:
        UserError: it is missing or garbled.
    """
    path = folder / LEARNER_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"There is no training to go on with at {path}: {error.strerror}. Give a folder that "
            "`save` wrote, such as checkpoints/last of a run."
        ) from error
    # Else torch would take it for one of its old files, which are bare pickles.
    is_archive = zipfile.is_zipfile(io.BytesIO(content))
    try:
        state = torch.load(io.BytesIO(content), "cpu", weights_only=True) if is_archive else None
    except (RuntimeError, EOFError, LookupError, ValueError, UnpicklingError) as error:
        # Without torch's words, which advise to execute what is in the file.
        raise UserError(f"{path} is damaged. Copy it anew, or give an older one.") from error
    if not isinstance(state, dict) or "replay_config" not in state:
        raise UserError(
            f"{path} is damaged, or holds no training to go on with. Copy it anew, or give another."
        )
    return state
