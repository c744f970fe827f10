"""The folder of a teacher's run, and what may change when it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.runs import run_folder
from Common.runs.tracking import CONFIG_FILE

# May be given anew with --resume; everything else decides what the run is.
_CHANGEABLE = frozenset(
    {"total_timesteps", "device", "threads", "output", "wandb", "video", "resume", "overwrite"}
    | {"baseline_episodes"}
)


def locate(output: Path | None, task: str, algo: str, run_index: int) -> Path:
    """The run folder that the flags name, absolute.

    Raises:
        UserError: `output` is no usable name of a folder.
    """
    return run_folder.locate(output, Path(task) / "Teacher" / f"{algo.upper()}_{run_index}")


def check(folder: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuses to start where a run would be lost or mixed with another. Changes nothing.

    Raises:
        UserError: says what the folder holds, and which flag helps.
    """
    hint = "Go on with it by --resume. "
    run_folder.check_free(folder, overwrite=overwrite, resume=resume, hint=hint)
    if resume and (folder / CONFIG_FILE).is_file():
        _check_same(folder, config)


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    path = folder / CONFIG_FILE
    try:
        old = _flat(read_json(path)["config"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a teacher's run: {error}.") from error
    new = _flat(json.loads(json.dumps(config, default=str)))  # tuples become lists, as in `old`
    different = [
        f"  {name}: {old.get(name)!r} in the run, {new.get(name)!r} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if different:
        raise UserError(
            f"--resume of {folder} with other settings:\n" + "\n".join(different) + "\n"
            "Give the flags of the first command, or start another run."
        )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """What must not change between a run and its continuation."""
    run = dict(config["run"])
    settings = run.pop("settings")
    flat = {"task": config["task"], **run, **settings}
    return {name: value for name, value in flat.items() if name not in _CHANGEABLE}
