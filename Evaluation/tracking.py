"""What a run leaves behind: `config.json`, `metrics.jsonl`, and W&B with the same keys.

`metrics.jsonl` is the record; W&B is a copy of it. Whatever W&B does, the run goes on.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import wandb
from stable_baselines3.common.logger import KVWriter, filter_excluded_keys
from wandb.errors import UsageError

from Enviroment.errors import UserError

WandbMode = Literal["offline", "online", "disabled"]

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
PACKAGES = (
    "torch",
    "numpy",
    "gymnasium",
    "mujoco",
    "stable-baselines3",
    "sb3-contrib",
    "safetensors",
    "opencv-python-headless",
    "imageio-ffmpeg",
    "wandb",
)

_INIT_TIMEOUT = 30.0  # s; W&B's own 90 are long to wait for a run without a network


class RunTracker(KVWriter):
    """Writes each `logger.dump(step)` of SB3 as a line of `metrics.jsonl`, and to W&B.

    A line is `{"step": env steps, key: value, ...}`; NaN and infinity, which JSON does not have,
    become null. W&B gets numbers, the configuration and videos; no code, no git state, no command
    line, no console output, nothing about the machine. Its files lie in `run_dir/wandb`.

    Args:
        run_dir: the run folder; made if missing. Lines are added to a `metrics.jsonl` that is
            there already, and what a killed process left of a last line is cut off.
        wandb_mode: "online" falls back to "offline", with one warning, where W&B cannot be
            reached or no key is configured.
        project, name: of the run on W&B.
        config: the resolved configuration, shown by W&B.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        wandb_mode: WandbMode = "offline",
        project: str,
        name: str,
        config: Mapping[str, Any],
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        path = run_dir / METRICS_FILE
        _drop_unfinished_line(path)
        self._metrics = path.open("a", encoding="utf-8")
        self._wandb = _start_wandb(run_dir, wandb_mode, project, name, _jsonable(config))

    @property
    def url(self) -> str | None:
        """Where to watch the run; None unless it is online."""
        return None if self._wandb is None else self._wandb.url

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write one logging point; SB3's logger calls this.

        Raises:
            TypeError: a value is neither a number nor text.
        """
        values = filter_excluded_keys(key_values, key_excluded, "json")
        point = {"step": int(step)} | {key: _scalar(key, value) for key, value in values.items()}
        line = {key: _finite_or_none(value) for key, value in point.items()}
        self._metrics.write(json.dumps(line, allow_nan=False) + "\n")
        self._metrics.flush()
        self._log_to_wandb(point)

    def video(self, key: str, path: Path, step: int) -> None:
        """Upload an mp4 file to W&B. The file itself stays where it is."""
        run = self._wandb
        if run is not None:
            _or_warn(
                f"upload {path.name}",
                lambda: run.log({"step": step, key: wandb.Video(str(path), format="mp4")}),
            )

    def close(self) -> None:
        """Finish both. Closing twice is harmless.

        W&B's own process may write for a moment longer; this one waits for it at its exit.
        """
        self._metrics.close()
        if self._wandb is not None:
            run, self._wandb = self._wandb, None
            _or_warn("finish", run.finish)

    def _log_to_wandb(self, point: dict[str, Any]) -> None:
        run = self._wandb
        if run is not None and not _or_warn("log", lambda: run.log(point)):
            self._wandb = None


def _or_warn(what: str, call: Callable[[], object]) -> bool:
    """Whether W&B did what it was asked; a warning if not.

    W&B's service is another process, and its client raises a dozen unrelated exceptions when
    that process is gone. None of them is worth a training run.
    """
    try:
        call()
    except Exception as error:
        warnings.warn(
            f"W&B could not {what} ({type(error).__name__}: {error}); "
            f"the run goes on, and {METRICS_FILE} has every metric.",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def _start_wandb(
    run_dir: Path, mode: WandbMode, project: str, name: str, config: dict[str, Any]
) -> wandb.Run | None:
    if mode == "disabled":
        return None

    def start(mode: Literal["offline", "online"]) -> wandb.Run:
        run = wandb.init(
            project=project,
            name=name,
            dir=run_dir,
            mode=mode,
            config=config,
            settings=_wandb_settings(),
        )
        # With a step of its own W&B takes points of any step; its built-in one only ever rises.
        run.define_metric("*", step_metric="step")
        return run

    if mode == "online":
        try:
            # `init` alone would stop and ask for a key at a terminal.
            if not wandb.login(prompt=False):
                raise UsageError("no API key is configured: `wandb login`")
            return start("online")
        except (wandb.Error, OSError) as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"W&B cannot be used online ({reason}). The run goes on offline; "
                f"`wandb sync {run_dir / 'wandb'}/offline-run-*` uploads it later.",
                RuntimeWarning,
                stacklevel=3,
            )
    return start("offline")


def _wandb_settings() -> wandb.Settings:
    return wandb.Settings(
        save_code=False,
        disable_code=True,
        disable_git=True,
        console="off",
        silent=True,
        init_timeout=_INIT_TIMEOUT,
        x_disable_meta=True,  # the command line, user, host and directory
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,  # may hold addresses with credentials; config.json has versions
    )


def _drop_unfinished_line(path: Path) -> None:
    if path.exists():
        written = path.read_bytes()
        os.truncate(path, written.rfind(b"\n") + 1)


def _scalar(key: str, value: Any) -> float | int | str | bool | None:
    if hasattr(value, "item"):  # NumPy and torch
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"Metric {key!r} is a {type(value).__name__}, not a number or text.")


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The logging points of a run, in the order in which they were written.

    A last line that is not finished yet is left out: the run may still be writing it.

    Raises:
        UserError: there is no `metrics.jsonl`, or a line of it is not a logging point.
    """
    path = run_dir / METRICS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{run_dir} holds no {METRICS_FILE}, so it is no run folder.") from None
    points = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            point = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}, is not JSON: {error}.") from None
        if not isinstance(point, dict) or not isinstance(point.get("step"), int):
            raise UserError(f"{path}, line {number}, is no logging point: it has no 'step'.")
        points.append(point)
    return points


def write_config(
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    teacher_sha256: str | None,
    command: Sequence[str],
) -> Path:
    """Write `config.json`: what it takes to repeat the run.

    It holds `config`, `command`, the `versions` of Python and packages, `teacher_sha256` (null
    without a teacher) and, where the code lies in a git checkout, `git_sha`.

    Args:
        config: the resolved configuration, `dataclasses.asdict` of a configuration class.
        command: the program and its arguments, `sys.argv`.

    Raises:
        TypeError: `config` holds something that JSON cannot.
    """
    description = {
        "config": _jsonable(config),
        "command": shlex.join(command),
        "versions": package_versions(),
        "teacher_sha256": teacher_sha256,
    }
    git_sha = _git_sha()
    if git_sha is not None:
        description["git_sha"] = git_sha
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / CONFIG_FILE
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
    return path


def package_versions() -> dict[str, str]:
    """Versions of Python and of those of `PACKAGES` that are installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _jsonable(config: Mapping[str, Any]) -> dict[str, Any]:
    def convert(value: Any) -> str:
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"A configuration cannot hold a {type(value).__name__}: {value!r}.")

    return json.loads(json.dumps(dict(config), default=convert))


def _git_sha() -> str | None:
    """The commit of this code; None outside a checkout, or before its first commit."""
    try:
        git = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return git.stdout.strip() if git.returncode == 0 else None
