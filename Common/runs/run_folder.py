"""Locate run folders, and keep runs from overwriting each other.

A writer of a run folder holds `Common.files.locks.locked` on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from Common.commands.redaction import redact
from Common.differences import differences, plain_json
from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.files.durable import partial_path, remove
from Common.files.locks import LOCK_FILE
from Common.names import check_utf8
from Common.places import RESULTS
from Common.runs.files import CONFIG_FILE, CONFIG_KEYS, METRICS_FILE
from Common.runs.tensorboard_files import TENSORBOARD

CHECKPOINTS, STUDENT, TEACHER, VIDEOS = "checkpoints", "student", "teacher", "videos"
FINISHED = "finished"  # marker in the folder of checkpoints, written after everything else
DIAGNOSTICS, CURVES_FILE = "diagnostics", "curves.png"
DARK = "_dark"  # ends the name of a picture for dark screens
FIGURES_FILE = "evaluation.json"  # of the best student, on evaluation seeds
# Files that a killed process may leave of a run that had not begun.
_NOTHING = {LOCK_FILE, partial_path(Path(CONFIG_FILE)).name}
_LONGEST_NAME = 200  # bytes; file systems allow 255
_LONGEST_PATH = 3000  # bytes; Linux allows 4096
# Everything that `clear` deletes. The configuration comes last: until then, the rest counts as a
# run, and an interrupted `overwrite` can be repeated.
_CONTENTS = (
    *(METRICS_FILE, CURVES_FILE, FIGURES_FILE, "wandb", TENSORBOARD),
    *(CHECKPOINTS, STUDENT, TEACHER, VIDEOS, DIAGNOSTICS, CONFIG_FILE),
)


def locate(output: Path | None, default: Path) -> Path:
    """Return the absolute path of `output`; by default, of `default` below Results.

    Raises:
        UserError: `output` holds `..`, is too long, is not UTF-8, or names a file.
    """
    if output is None:
        what = f"The run's name {str(default)!r:.80}"
        if default.is_absolute():
            raise UserError(f"{what} leaves {RESULTS}.")
        _check_names(default, what)
        return RESULTS / default
    _check_names(output, f"`output` {str(output)!r:.80}")
    for part in (output, *output.parents):
        if part.is_file():
            raise UserError(f"`output` {output}: {part} is a file. Name a folder.")
    return output.absolute()


def _check_names(path: Path, what: str) -> None:
    if ".." in path.parts:
        raise UserError(f"{what} holds '..'. Name the folder without it.")
    check_utf8(str(path.absolute()), what)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if "\0" in str(path) or longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        raise UserError(f"{what} is no usable name for a folder.")


def check_free(
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    hint: str = "",
    besides: Collection[str] = (),
) -> None:
    """Raise UserError if a run in a folder would be lost or mixed with another. Change nothing.

    Args:
        overwrite: whether the run in the folder is to be deleted.
        resume: whether it is to be continued. Its configuration is checked elsewhere.
        hint: further advice in the message, such as on `resume`.
        besides: names that may be there without a run, because the run makes them first.
    """
    nothing = _NOTHING.union(besides)
    if not folder.exists() or {path.name for path in folder.iterdir()} <= nothing:
        return
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder} is not empty and holds no run. Name another `output`.")
    if resume:
        return
    if not overwrite:
        raise UserError(
            f"{folder} already holds a run. {hint}Delete it with `overwrite`, or name another "
            "`output`."
        )
    if not holds_run(folder):
        raise UserError(
            f"{folder / CONFIG_FILE} is not the configuration of a run of this toolkit, so "
            "`overwrite` deletes nothing here. Name another `output`, or delete the folder "
            "yourself."
        )


def holds_run(folder: Path) -> bool:
    """Return whether a folder's configuration is one that a run of this toolkit wrote.

    Other programs write a `config.json` too, beside `checkpoints` and `wandb` of their own.
    """
    try:
        described = read_json(folder / CONFIG_FILE)
    except (OSError, ValueError):
        return False
    if not isinstance(described, dict) or not described.keys() >= CONFIG_KEYS:
        return False
    config, versions = described["config"], described["versions"]
    names_task = isinstance(config, dict) and isinstance(config.get("task"), str)
    return names_task and isinstance(versions, dict) and "python" in versions


def check_same_settings(
    folder: Path,
    config: Mapping[str, Any],
    *,
    teacher_sha256: str | None,
    may_differ: Collection[str],
    teacher: Mapping[str, str] | None = None,
    comparable: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Refuse to resume the run in a folder with other settings.

    Args:
        config, teacher_sha256, teacher: the current arguments of `write_config`. Old runs have no
            `teacher`.
        may_differ: settings that may differ, named as in `differences`.
        comparable: converts a configuration of any version to a comparable form.

    Raises:
        UserError: settings differ, which the message lists, or the folder does not describe a run.
    """
    path = folder / CONFIG_FILE
    known: dict[str, Any] = {"teacher_sha256": teacher_sha256}
    try:
        written = read_json(path)
        if teacher is not None and "teacher" in written:
            known["teacher"] = dict(teacher)
        was = {**comparable(written["config"]), **{name: written[name] for name in known}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not describe a run ({error!r}). Restore it from a copy."
        ) from error
    now = {**comparable(redact(plain_json(config))), **known}
    if differ := differences(was, now, may_differ):
        lines = "\n".join(f"  {difference}" for difference in differ)
        raise UserError(
            f"`resume` of {folder} with other settings:\n{lines}\n"
            "Give the flags of the first command, or start another run."
        )


def clear(folder: Path) -> None:
    """Delete the run in a folder, and nothing else in it."""
    for name in _CONTENTS:
        remove(folder / name)
