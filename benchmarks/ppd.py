"""Compare the whole PPD loop with one that works as in an earlier Pusher toolkit.

Usage: python benchmarks/ppd.py [--frame-size 64 128] [--rounds 3]

Both learn Pusher with the same encoder, heads, environments, minibatches, epochs and threads. They
alternate, so that other load on the machine affects both. The rival collects fewer steps per
rollout, which saves minutes without changing its cost per env step.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from Algorithm.on_policy.ppd import PPD
from Common.cores import available_cores
from Common.device import fastest_precision
from Common.memory import keep_freed_memory
from Enviroment.make import make_env
from Enviroment.tasks import get_task
from Models.networks.encoders import FILTERS
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

TARGET = 10.0  # times faster than the original
_RIVAL = Path(__file__).parent / "rivals" / "original_loop.py"


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark."""

    mode: str = "ImpaalaSmall"
    frame_size: tuple[int, int] = (64, 128)  # pixels, height and width
    n_envs: int = 18
    n_steps: int = 64  # env steps per rollout and environment
    batch_size: int = 256  # samples
    n_epochs: int = 4
    rounds: int = 3
    rival_steps: int = 16  # env steps of the rival per rollout and environment
    threads: int = available_cores()


class TimedVecEnv(VecEnvWrapper):
    """Sums the seconds of stepping and rendering."""

    def __init__(self, env: VecEnv) -> None:
        super().__init__(env)
        self.seconds = 0.0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._started = time.perf_counter()
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        result = self.venv.step_wait()
        self.seconds += time.perf_counter() - self._started
        return result


class Ours:
    """This project's loop, which persists between rounds."""

    def __init__(self, settings: Settings) -> None:
        task = replace(get_task("Pusher"), frame_size=settings.frame_size)
        self.env = TimedVecEnv(make_env(task, settings.n_envs, 0, n_workers=settings.threads))
        teacher = Teacher.load(default_teacher("Pusher"))
        config = StudentConfig(
            mode=settings.mode,
            family=teacher.description.family,
            precision=fastest_precision(torch.device("cpu")),
        )
        self.rollout_size = settings.n_envs * settings.n_steps
        self.model = PPD(
            StudentPolicy,
            self.env,
            teacher,
            n_steps=settings.n_steps,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            policy_kwargs={"config": config, "optimizer_kwargs": {"fused": True}},
            seed=0,
            device="cpu",
        )
        self.model.learn(self.rollout_size)  # warm-up

    def measure(self) -> dict[str, float]:
        """Return seconds per env step: of the whole loop and of its parts."""
        self.env.seconds = 0.0
        started = time.perf_counter()
        self.model.learn(self.rollout_size, reset_num_timesteps=False)
        whole = time.perf_counter() - started
        rollout, update = self.model._rollout_seconds, self.model._update_seconds
        parts = {
            "whole": whole,
            "step and render environments": self.env.seconds,
            "act, store, advantages": rollout - self.env.seconds,
            "update": update,
            "teacher and logging": whole - rollout - update,
        }
        return {name: seconds / self.rollout_size for name, seconds in parts.items()}


def measure_rival(settings: Settings) -> dict[str, float]:
    """Return seconds per env step of the original's loop: whole, rollout and update."""
    filters = ",".join(map(str, FILTERS[settings.mode]))
    numbers = (settings.n_envs, settings.rival_steps, settings.batch_size, settings.n_epochs)
    answer = subprocess.run(
        [sys.executable, str(_RIVAL), filters, *map(str, (*numbers, settings.threads))],
        capture_output=True,
        text=True,
        check=True,
    )
    names = ("whole", "rollout", "update")
    return dict(zip(names, map(float, answer.stdout.split()), strict=True))


def main() -> None:
    """Print the speed ratio, and the time of each part."""
    settings = tyro.cli(Settings, description=__doc__)
    torch.set_num_threads(settings.threads)
    keep_freed_memory()  # as the commands do
    ours = Ours(settings)
    rounds = [(ours.measure(), measure_rival(settings)) for _ in range(settings.rounds)]
    h, w = settings.frame_size
    print(f"{settings.mode}, {h}x{w}, {settings.threads} threads; ms per env step, medians")
    for title, index in (("this project", 0), ("the original's loop", 1)):
        print(f"\n{title}")
        for name in rounds[0][index]:
            milliseconds = 1e3 * statistics.median(r[index][name] for r in rounds)
            print(f"  {name:32} {milliseconds:9.3f}")
    ratios = [rival["whole"] / own["whole"] for own, rival in rounds]
    print(f"\nenv steps per second: {1 / statistics.median(r[0]['whole'] for r in rounds):.0f}")
    print(
        f"times as fast: {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds; target {TARGET:.0f})"
    )


if __name__ == "__main__":
    main()
