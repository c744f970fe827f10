"""The folder of a teacher's run: where it is, and that no other run is lost in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from Enviroment.errors import UserError
from Evaluation.tracking import CONFIG_FILE, METRICS_FILE

RESULTS = Path(__file__).resolve().parents[1] / "Results"
# What a run writes, so that --overwrite deletes nothing else.
_CONTENTS = (CONFIG_FILE, METRICS_FILE, "curves.png", "checkpoints", "teacher", "videos", "wandb")
# May be given anew with --resume; everything else decides what the run is.
_CHANGEABLE = frozenset(
    {"total_timesteps", "device", "threads", "output", "wandb", "video", "resume", "overwrite"}
    | {"baseline_episodes"}
)


def locate(output: Path | None, task: str, algo: str, run_index: int) -> Path:
    """The run folder that the flags name, absolute.

    Raises:
        UserError: `output` leaves its folder by `..`, or names a file.
    """
    if output is None:
        return RESULTS / task / "Teacher" / f"{algo.upper()}_{run_index}"
    if ".." in output.parts:
        raise UserError(f"--output {output} holds '..'. Name the folder without it.")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file. Name a folder.")
    return output.absolute()


def check(folder: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuses to start where a run would be lost or mixed with another. Changes nothing.

    Raises:
        UserError: says what the folder holds, and which flag helps.
    """
    if resume:
        _check_same(folder, config)
    elif folder.exists() and any(folder.iterdir()):
        if not (folder / CONFIG_FILE).is_file():
            raise UserError(f"{folder} is not empty and holds no run. Name another --output.")
        if not overwrite:
            raise UserError(
                f"{folder} already holds a run. Go on with it by --resume, delete it by "
                "--overwrite, or name another --output."
            )


def delete_run(folder: Path) -> None:
    """Deletes what a run wrote into `folder`, and nothing else."""
    for name in _CONTENTS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"There is no run to --resume in {folder}: it has no {CONFIG_FILE}.")
    try:
        old = _flat(json.loads(path.read_text())["config"])
    except (ValueError, LookupError, TypeError) as error:
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
