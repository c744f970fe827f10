"""Record a run in `config.json` and `metrics.jsonl`, and on W&B with the same keys.

`metrics.jsonl` is the record; W&B is a copy of it. A failure of W&B never stops a run. A failure to
write `metrics.jsonl` does, because the run would have no record.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import wandb
from stable_baselines3.common.logger import KVWriter, filter_excluded_keys

from Common.commands.redaction import command_line, redact
from Common.commands.wording import shown_path
from Common.errors import UserError
from Common.files.bounded_read import parse_json, read_bounded
from Common.files.durable import write_file, writing
from Common.runs.files import CONFIG_FILE, CONFIG_KEYS, MAX_METRICS, METRICS_FILE
from Common.runs.tensorboard_files import TensorBoardFiles
from Common.runs.wandb_run import (
    COUNTERS,
    WandbLabels,
    WandbMode,
    or_warn,
    remove_superseded,
    start_wandb,
)

_RECORD_ADVICE = (
    "The run stops, because this is its record. Its checkpoints are intact: free space or fix the "
    "cause, and continue with `resume`."
)
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


@dataclass(frozen=True)
class _Video:
    """A video that W&B has, or receives when the run is resumed."""

    line: int  # number of lines of metrics.jsonl before it
    key: str
    file: str | None  # relative to the run folder; None if outside of it
    step: int  # as in logging points: env steps, or gradient steps in cloning


class RunTracker(KVWriter):
    """Writes each `logger.dump(step)` of SB3 as a line of `metrics.jsonl`, and to W&B.

    A line is `{"step": env steps (gradient steps in cloning), key: value, ...}`; NaN and infinity,
    which JSON lacks, become null. W&B receives numbers, the configuration, videos and the load of
    the machine; no code, no git state, no command line, no console output, no name of the machine
    or its user. Its files are in `run_dir/wandb`.

    W&B numbers its rows. Each row is a line or a video, in the order of the record, with the
    numbers of env steps and gradient steps, so that both can be the x axis of every metric. A
    resumed run therefore sends the rows that W&B does not have, and none twice.

    Args:
        run_dir: the run folder; made if missing. Lines are appended to an existing
            `metrics.jsonl`, after an incomplete last line of a killed process is cut off.
        wandb_mode: "online" falls back to "offline", with one warning, if W&B cannot be reached
            or no key is configured.
        labels: how W&B lists the run.
        config: the resolved configuration, shown by W&B.
        tensorboard: also write the numbers for TensorBoard (see `TensorBoardFiles`).
        position: `position()` at the checkpoint that the run resumes from. Later lines are cut
            off: the run logs them again.

    Raises:
        UserError: `metrics.jsonl` cannot be written, or does not match `position`.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        wandb_mode: WandbMode = "offline",
        labels: WandbLabels,
        config: Mapping[str, Any],
        tensorboard: bool = False,
        position: Mapping[str, Any] | None = None,
    ) -> None:
        self._run_dir, self._path = run_dir, run_dir / METRICS_FILE
        wandb_id, n_bytes, self._videos = _read_position(self._path, position)
        with writing(self._path, _RECORD_ADVICE):
            run_dir.mkdir(parents=True, exist_ok=True)
            written = b""
            if self._path.exists():
                written = read_bounded(self._path, MAX_METRICS)[:n_bytes]
            whole = written[: written.rfind(b"\n") + 1]
            if n_bytes is not None and len(whole) != n_bytes:
                raise UserError(
                    f"{self._path} does not match the checkpoint, which was written when the file "
                    f"held {n_bytes} bytes of complete lines. Restore it from a copy."
                )
            self._metrics = self._path.open("ab", buffering=0)
            self._metrics.truncate(len(whole))
        self._bytes, self._lines = len(whole), whole.count(b"\n")
        points = [_with_nan(parse_json(line)) for line in whole.splitlines()]
        self._tensorboard = TensorBoardFiles(run_dir, points) if tensorboard else None
        self._wandb = start_wandb(run_dir, wandb_mode, labels, redact(_jsonable(config)), wandb_id)
        self._wandb_id = wandb_id if self._wandb is None else self._wandb.id
        self._counters: dict[str, Any] = {}  # of the latest row that has them
        self._ahead = 0  # rows that the run logs again and W&B already has
        if whole or self._videos or wandb_id is not None:
            self._bring_up_to_date(points)

    @property
    def takes_videos(self) -> bool:
        """Return whether W&B is in use, and so shows videos."""
        return self._wandb is not None

    @property
    def url(self) -> str | None:
        """URL of the run on W&B; None unless it is online."""
        return None if self._wandb is None else self._wandb.url

    def where(self) -> str:
        """Return where the run is on W&B, or how to bring it there."""
        if self._wandb is None:
            return "disabled"
        if not self._wandb.offline:
            return str(self._wandb.url)
        return f"offline; to upload it: wandb sync {shown_path(self._run_dir)}/wandb/offline-run-*"

    def position(self) -> dict[str, Any]:
        """Sync the record to disk, and return its position as JSON for a checkpoint.

        Raises:
            UserError: the disk fails.
        """
        with writing(self._path, _RECORD_ADVICE):
            os.fsync(self._metrics.fileno())
        videos = [asdict(video) for video in self._videos]
        return {"metrics_bytes": self._bytes, "wandb_id": self._wandb_id, "videos": videos}

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write one logging point; SB3's logger calls this.

        Raises:
            TypeError: a value is neither a number nor text.
            UserError: `metrics.jsonl` cannot be written; it then ends with the previous point.
        """
        values = filter_excluded_keys(key_values, key_excluded, "json")
        point = {"step": int(step)} | {key: _scalar(key, value) for key, value in values.items()}
        line = {key: _finite_or_none(value) for key, value in point.items()}
        self._append(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._log_to_wandb(point)
        if self._tensorboard is not None:
            self._tensorboard.write(point)

    def video(self, key: str, path: Path, step: int) -> None:
        """Upload an mp4 file to W&B. The file itself is kept."""
        folder = self._run_dir.absolute()
        inside = path.absolute().is_relative_to(folder)
        file = path.absolute().relative_to(folder).as_posix() if inside else None
        self._send_video(_Video(self._lines, key, file, step), path)

    def close(self) -> None:
        """Close `metrics.jsonl`, and finish TensorBoard and W&B. A second call does nothing.

        W&B's own process may write for a moment longer; this process waits for it at exit.
        """
        self._metrics.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            run, self._wandb = self._wandb, None
            or_warn("finish", run.finish)

    def _append(self, line: bytes) -> None:
        rest = memoryview(line)
        with writing(self._path, _RECORD_ADVICE):
            try:
                while rest:
                    rest = rest[self._metrics.write(rest) :]
            except OSError:
                self._metrics.truncate(self._bytes)  # a full disk may hold part of the line
                raise
        self._bytes += len(line)
        self._lines += 1

    def _log_to_wandb(self, point: dict[str, Any]) -> None:
        run, row = self._wandb, self._with_counters(point)
        if run is None or self._skips_row():
            return
        if not or_warn("log", lambda: run.log(row)):
            self._wandb = None

    def _with_counters(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with the latest counters, which are the x axes."""
        self._counters |= {name: row[name] for name in COUNTERS if name in row}
        return {**row, **self._counters}

    def _send_video(self, video: _Video, path: Path | None) -> None:
        run = self._wandb
        if run is not None and not self._skips_row():
            row = self._with_counters({"step": video.step})
            if path is None or not or_warn(
                f"upload {path.name}",
                lambda: run.log(row | {video.key: wandb.Video(str(path), format="mp4")}),
            ):
                return
        self._videos.append(video)

    def _skips_row(self) -> bool:
        """Count the next row, and return whether W&B already has it."""
        self._ahead -= 1
        return self._ahead >= 0

    def _bring_up_to_date(self, points: Sequence[dict[str, Any]]) -> None:
        """Send W&B the missing rows. The new file of an offline run gets all rows."""
        run = self._wandb
        if run is None or not or_warn("return its step", lambda: run.step):
            return
        videos, self._videos = self._videos, []
        self._ahead, self._lines = run.step, 0
        for line in range(len(points) + 1):
            for video in (video for video in videos if video.line == line):
                self._send_video(video, None if video.file is None else self._run_dir / video.file)
            if line < len(points):
                self._log_to_wandb(points[line])
                self._lines += 1
        remove_superseded(self._run_dir, run)


def _read_position(
    path: Path, position: Mapping[str, Any] | None
) -> tuple[str | None, int | None, list[_Video]]:
    """Return the id of the run on W&B, the bytes of `metrics.jsonl`, and the videos so far."""
    if position is None:
        return None, None, []
    try:
        wandb_id, n_bytes = position["wandb_id"], position["metrics_bytes"]
        videos = [_Video(**video) for video in position["videos"]]
        known = wandb_id is None or re.fullmatch(r"[\w-]{1,64}", wandb_id)
        folder = path.parent.resolve()
        files = [folder / video.file for video in videos if video.file is not None]
        inside = all(file.resolve().is_relative_to(folder) for file in files)
        if not (known and inside and type(n_bytes) is int and n_bytes >= 0):
            raise ValueError("an invalid value")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"The checkpoint's position in {path} is invalid: {error!r}.") from error
    return wandb_id, n_bytes, videos


def _scalar(key: str, value: Any) -> float | int | str | bool | None:
    if hasattr(value, "item"):  # NumPy and torch
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"Metric {key!r} is a {type(value).__name__}, not a number or text.")


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(point: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in point.items()}


def write_config(
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    teacher_sha256: str | None,
    command: Sequence[str],
    teacher: Mapping[str, str] | None = None,
) -> Path:
    """Write `config.json`, which holds everything needed to repeat the run.

    Its keys are `config`, `command`, the `versions` of Python and packages, `teacher_sha256` (null
    without a teacher) and, if the code is in a git checkout, `git_sha`.

    Args:
        config: the resolved configuration, `dataclasses.asdict` of a configuration class.
        teacher: further SHA-256 that identify the teacher, see `Distillation.starting.teaching`.
        command: the program and its arguments, `sys.argv`. Secrets in it, and in `config`, are
            hidden: `Common.commands.redaction`.

    Raises:
        TypeError: `config` holds a value that JSON cannot represent.
        UserError: the folder cannot be written.
    """
    description = {
        "config": redact(_jsonable(config)),
        "command": command_line(command),
        "versions": package_versions(),
        "teacher_sha256": teacher_sha256,
        **({} if teacher is None else {"teacher": dict(teacher)}),
    }
    git_sha = _git_sha()
    if git_sha is not None:
        description["git_sha"] = git_sha
    assert description.keys() >= CONFIG_KEYS
    path = run_dir / CONFIG_FILE
    write_file(path, json.dumps(description, indent=2).encode() + b"\n")
    return path


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages among `PACKAGES`."""
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
    """Return the git commit of this code; None outside a checkout or before its first commit."""
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
