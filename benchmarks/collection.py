"""Compare our collection of datasets with Gymnasium's `env.render()` and SB3's `predict`.

Usage: python benchmarks/collection.py [--rounds 5] [--threads 2]

Ours is the complete `--C_data` with the shipped teacher, including making environments, and writing
and hashing shards. The rival is measured with the default number of Mesa threads and without Mesa
threads; the ratio is to the faster of the two. All alternate, so that other load on the machine
affects all of them; ratios are within a round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from Common.cores import available_cores
from Enviroment.dataset.collect import collect
from Enviroment.tasks import Task, get_task
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

TARGET = 30.0  # times the env steps per second
_RIVAL = Path(__file__).parent / "rivals" / "gymnasium_collection.py"


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark; frames have the task's default size."""

    task: str = "Pusher"
    rounds: int = 5
    num_data: int = 20_000  # env steps per round, ours
    rival_steps: int = 100  # env steps per round
    rival_size: int = 480  # width and height in pixels that the rival renders
    threads: int = available_cores()


class Rival:
    """A process that collects with Gymnasium and SB3 on request."""

    def __init__(
        self, settings: Settings, task: Task, teacher: Teacher, mesa_threads: str | None
    ) -> None:
        environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
        environment.pop("LP_NUM_THREADS", None)
        if mesa_threads is not None:
            environment["LP_NUM_THREADS"] = mesa_threads
        units = ",".join(map(str, teacher.description.actor_layers))
        numbers = (settings.rival_size, *task.frame_size)
        self._process = subprocess.Popen(
            [sys.executable, str(_RIVAL), task.env_id, *map(str, numbers), units],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._steps = settings.rival_steps
        self.measure()  # waits for the start and warms up

    def measure(self) -> float:
        """Return seconds per env step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._steps}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()  # closes its input, which ends it


class Ours:
    """The project's collection, from nothing to a complete dataset."""

    def __init__(self, settings: Settings, task: Task, teacher: Teacher) -> None:
        self._settings, self._task = settings, task
        self._labeller = TeacherLabeller(teacher)

    def measure(self) -> float:
        """Return seconds per env step."""
        num_data = self._settings.num_data
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            collect(
                self._task,
                self._labeller,
                Path(folder) / "dataset",
                num_data,
                n_workers=self._settings.threads,
            )
            return (time.perf_counter() - start) / num_data

    def close(self) -> None:
        """Do nothing."""


def main(settings: Settings) -> None:
    """Measure every contender in every round, and print speeds and ratios."""
    task, teacher = get_task(settings.task), Teacher.load(default_teacher(settings.task))
    contenders: dict[str, Rival | Ours] = {
        "gymnasium, Mesa's threads": Rival(settings, task, teacher, mesa_threads=None),
        "gymnasium, no Mesa threads": Rival(settings, task, teacher, mesa_threads="0"),
        "ours": Ours(settings, task, teacher),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(settings.rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender.measure())
    for contender in contenders.values():
        contender.close()
    report(settings, task, seconds)


def report(settings: Settings, task: Task, seconds: dict[str, list[float]]) -> None:
    """Print the medians over the rounds, with the range of the ratios."""
    h, w = task.frame_size
    print(f"{settings.task}, {h}x{w} frames (the rival renders {settings.rival_size} squared),")
    print(f"{settings.rounds} rounds, {settings.threads} threads (ours), {os.cpu_count()} cores")
    for name, times in seconds.items():
        print(f"{name:28}{1 / statistics.median(times):10.0f} env steps per second")
    *gymnasium, ours = seconds.values()
    ratios = [min(theirs) / own for *theirs, own in zip(*gymnasium, ours, strict=True)]
    verdict = "reached" if statistics.median(ratios) >= TARGET else "missed"
    print(
        f"times as fast: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f} "
        f"in {len(ratios)} rounds; target {TARGET:.0f}: {verdict})"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
