"""Run commands of the toolkit, and note when the student reaches a skill.

The clock is outside of the command, so that it includes all that a user waits for: start-up,
collection of data, training, evaluations. An evaluation appears in the run's `metrics.jsonl` when
it ends; `eval/seconds` is its duration.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Common.runs.tracking import METRICS_FILE
from Evaluation.runs import SKILL

_INTERVAL = 0.1  # s, between two looks at the record


@dataclass(frozen=True)
class Reached:
    """The first evaluation with at least some skill."""

    skill: float
    seconds: float  # since the first command was started, with all evaluations
    training_seconds: float  # without evaluations
    cpu_seconds: float | None  # processor time with evaluations; None where it is unknown
    env_steps: int
    gradient_steps: int


@dataclass
class Watched:
    """What became of a method."""

    reached: dict[float, Reached] = field(default_factory=dict)  # by level
    best_skill: float | None = None
    seconds: float = 0.0  # of all commands, with evaluations
    evaluation_seconds: float = 0.0
    cpu_seconds: float | None = 0.0
    error: str = ""  # of a command that failed

    def take(self, point: Mapping[str, Any], levels: Sequence[float]) -> None:
        """Take a logging point: note new levels, at the present `seconds` and `cpu_seconds`."""
        self.evaluation_seconds += point.get("eval/seconds") or 0.0
        skill = point.get(SKILL)
        if skill is None:
            return
        self.best_skill = max(skill, self.best_skill if self.best_skill is not None else skill)
        for level in levels:
            if skill >= level and level not in self.reached:
                self.reached[level] = Reached(
                    skill,
                    self.seconds,
                    self.seconds - self.evaluation_seconds,
                    self.cpu_seconds,
                    int(point.get("time/env_steps", 0)),
                    int(point.get("time/gradient_steps", 0)),
                )


def watch(commands: Sequence[Sequence[str]], run: Path, levels: Sequence[float]) -> Watched:
    """Run commands one after the other until the student has reached the highest level.

    Args:
        commands: arguments of Python, such as `["Distillation/Pusher.py", "--PPD"]`.
        run: the run folder that the last command fills.
        levels: skills to reach on validation seeds.
    """
    watched = Watched()
    started = time.perf_counter()
    record = _Record(run / METRICS_FILE)
    for command in commands:
        cpu_before = watched.cpu_seconds
        with subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        ) as process:
            while True:
                is_over = process.poll() is not None
                watched.seconds = time.perf_counter() - started
                if not is_over:
                    watched.cpu_seconds = _sum(cpu_before, _cpu_seconds(process.pid))
                for point in record.new_points():
                    watched.take(point, levels)
                if is_over:
                    break
                if watched.reached.keys() >= set(levels):
                    process.terminate()  # writes a checkpoint
                    process.wait()
                    return watched
                time.sleep(_INTERVAL)
        if process.returncode != 0:
            watched.error = f"{' '.join(command)} exited with {process.returncode}"
            break
    return watched


class _Record:
    """The logging points that a run appends to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new_points(self) -> Iterator[dict[str, Any]]:
        """Return the points of whole lines since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._read += len(whole) + 1
            yield from map(json.loads, whole.splitlines())


def _cpu_seconds(pid: int) -> float | None:
    """Return the processor time of a process and of its children that ended; Linux only."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # After the name in brackets: state is field 3; utime, stime, cutime, cstime are 14 to 17.
    ticks = map(int, stat.rpartition(")")[2].split()[11:15])
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b
