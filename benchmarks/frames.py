"""Compare env steps with a frame in this project's environments and with `env.render()`.

Usage: python benchmarks/frames.py [--n-envs 18] [--frame-size 64 128] [--rounds 7]

All contenders exist during the whole run and are measured alternately, once per round, so that
other load on the machine affects all of them. Ratios are within a round. Gymnasium runs in a
separate process, with the default number of Mesa threads and without Mesa threads; the ratio is to
the faster of the two.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import get_args

import gymnasium as gym
import numpy as np
import tyro

from Enviroment.make import make_env
from Enviroment.simulation.workers import WorkerKind
from Enviroment.tasks import Task, get_task

TARGET = 60.0  # times faster than Gymnasium
_SERVE = "--serve-gymnasium"


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark."""

    task: str = "Pusher"
    n_envs: int = 18
    frame_size: tuple[int, int] = (64, 128)  # pixels, height and width
    rounds: int = 7
    steps: int = 60  # vectorised env steps per round
    gymnasium_steps: int = 30  # env steps per round


class Gymnasium:
    """A process that steps and renders one plain Gymnasium environment on request."""

    def __init__(self, settings: Settings, env_id: str, mesa_threads: str | None) -> None:
        height, width = settings.frame_size
        environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
        environment.pop("LP_NUM_THREADS", None)
        if mesa_threads is not None:
            environment["LP_NUM_THREADS"] = mesa_threads
        arguments = [env_id, str(height), str(width)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, _SERVE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._steps = settings.gymnasium_steps
        self.measure()  # waits for the start and warms up

    def measure(self) -> float:
        """Return seconds per step with its frame."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._steps}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()  # closes its input, which ends it


def serve_gymnasium(env_id: str, height: int, width: int) -> None:
    """For each number of steps on standard input, run them and print the seconds per step."""
    env = gym.make(
        env_id, disable_env_checker=True, render_mode="rgb_array", height=height, width=width
    )
    env.reset(seed=0)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            env.render()
            if terminated or truncated:
                env.reset()
        print((time.perf_counter() - start) / int(line), flush=True)
    env.close()


class Ours:
    """The project's environments with one kind of workers."""

    def __init__(self, settings: Settings, task: Task, workers: WorkerKind) -> None:
        self._env = make_env(task, settings.n_envs, seed=0, workers=workers)
        self._steps = settings.steps
        action_space = self._env.action_space
        self._actions = np.stack([action_space.sample() for _ in range(settings.n_envs)])
        self._env.reset()
        self.measure()  # warms up

    def measure(self) -> float:
        """Return seconds per step of one environment with its frame."""
        start = time.perf_counter()
        for _ in range(self._steps):
            self._env.step(self._actions)
        return (time.perf_counter() - start) / self._steps / self._env.num_envs

    def close(self) -> None:
        self._env.close()


def main(settings: Settings) -> None:
    """Measure every contender in every round, and print times and ratios."""
    task = replace(get_task(settings.task), frame_size=settings.frame_size)
    contenders: dict[str, Gymnasium | Ours] = {
        "gymnasium, Mesa's threads": Gymnasium(settings, task.env_id, mesa_threads=None),
        "gymnasium, no Mesa threads": Gymnasium(settings, task.env_id, mesa_threads="0"),
    }
    for kind in get_args(WorkerKind):
        contenders[f"ours, {kind}"] = Ours(settings, task, kind)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(settings.rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender.measure())
    for contender in contenders.values():
        contender.close()
    report(settings, seconds)


def report(settings: Settings, seconds: dict[str, list[float]]) -> None:
    """Print the medians over the rounds, with the range of the ratios."""
    height, width = settings.frame_size
    print(f"{settings.task}, {height}x{width}, {settings.n_envs} environments (ours),", end=" ")
    print(f"{settings.rounds} rounds, {os.cpu_count()} cores")
    gymnasium = [min(pair) for pair in zip(*list(seconds.values())[:2], strict=True)]
    print(f"{'':28}{'ms per step + frame':>20}{'times gymnasium':>18}   range")
    medians = {}
    for name, times in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(gymnasium, times, strict=True)]
        medians[name] = statistics.median(ratios)
        milliseconds = statistics.median(times) * 1e3
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"{name:28}{milliseconds:20.3f}{medians[name]:18.1f}   {spread}")
    best = max(medians, key=lambda name: medians[name])
    verdict = "reached" if medians[best] >= TARGET else "missed"
    print(f"Target of {TARGET:.0f} times: {verdict}, by {best} ({medians[best]:.1f}).")


if __name__ == "__main__":
    if sys.argv[1:2] == [_SERVE]:
        serve_gymnasium(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(tyro.cli(Settings))
