"""Compare PPD on Hopper-v5 from state with a loop that recomputes everything, and with SB3's PPO.

Usage: python benchmarks/hopper.py [--rounds 9] [--threads 2]

All three learn with the network, environments and settings of the paper, in one process. They
alternate, so that other load on the machine affects all of them; ratios are within a round. The
teacher is an SB3 PPO with random weights, which has the same costs as a trained one.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from ppd import TimedVecEnv
from rivals.recomputing_loop import RecomputingPPD
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import nn

from Algorithm import ProximalPolicyDistillation
from Common.cores import available_cores

TARGETS = {"recomputing loop": 1.5, "SB3's PPO": 1.0}  # how many times as fast ours is
OURS = "this project's PPD"
_LAMBDA = 5.0


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark: those of the paper on MuJoCo, with its largest student."""

    rounds: int = 9
    rollouts: int = 2  # per round and contestant
    n_envs: int = 18
    n_steps: int = 64  # env steps per rollout and environment
    batch_size: int = 512  # samples
    n_epochs: int = 4
    student: tuple[int, ...] = (512, 512)  # units of the hidden layers
    teacher: tuple[int, ...] = (256, 256)
    threads: int = available_cores()


class Contestant:
    """A loop that persists between rounds."""

    def __init__(self, model: OnPolicyAlgorithm, settings: Settings) -> None:
        self._model = model
        self._env_steps = settings.rollouts * settings.n_steps * settings.n_envs
        self.measure()  # warms up

    def measure(self) -> dict[str, float]:
        """Return seconds per env step: of the whole loop and of the environments."""
        env = self._model.env
        assert isinstance(env, TimedVecEnv)
        env.seconds = 0.0
        started = time.perf_counter()
        self._model.learn(self._env_steps, reset_num_timesteps=False)
        whole = time.perf_counter() - started
        return {"whole": whole / self._env_steps, "environments": env.seconds / self._env_steps}


def contestants(settings: Settings) -> dict[str, Contestant]:
    """Return the three contestants by name."""
    teacher = PPO("MlpPolicy", _env(1), policy_kwargs=_network(settings.teacher), device="cpu")
    common: dict[str, Any] = {
        "n_steps": settings.n_steps,
        "batch_size": settings.batch_size,
        "n_epochs": settings.n_epochs,
        "policy_kwargs": _network(settings.student),
        "gamma": 0.995,
        "gae_lambda": 0.9,
        "seed": 0,
        "device": "cpu",
    }
    ours = ProximalPolicyDistillation("MlpPolicy", _env(settings.n_envs), **common)
    ours.set_teacher(teacher, distill_lambda=_LAMBDA)
    recomputing = RecomputingPPD("MlpPolicy", _env(settings.n_envs), **common)
    recomputing.teacher, recomputing.distill_lambda = teacher, _LAMBDA
    plain = PPO("MlpPolicy", _env(settings.n_envs), **common)
    models = (ours, recomputing, plain)
    return {
        name: Contestant(model, settings)
        for name, model in zip((OURS, *TARGETS), models, strict=True)
    }


def _env(n_envs: int) -> TimedVecEnv:
    return TimedVecEnv(make_vec_env("Hopper-v5", n_envs, seed=0))


def _network(units: tuple[int, ...]) -> dict[str, Any]:
    return {"net_arch": list(units), "activation_fn": nn.ReLU}


def main(settings: Settings) -> None:
    """Measure every contestant in every round, and print the ratios."""
    torch.set_num_threads(settings.threads)
    loops = contestants(settings)
    rounds = [
        {name: loop.measure() for name, loop in loops.items()} for _ in range(settings.rounds)
    ]
    print(f"Hopper-v5, {settings.n_envs} environments, [{', '.join(map(str, settings.student))}],")
    print(f"{settings.threads} threads, {settings.rounds} rounds; medians\n")
    print(f"{'':22}{'env steps/s':>12}{'us per step':>12}{'environments':>14}{'the rest':>10}")
    for name in loops:
        whole = statistics.median(r[name]["whole"] for r in rounds)
        inside = statistics.median(r[name]["environments"] for r in rounds)
        figures = f"{1 / whole:12.0f}{whole * 1e6:12.1f}{inside * 1e6:14.1f}"
        print(f"{name:22}{figures}{(whole - inside) * 1e6:10.1f}")
    for name, target in TARGETS.items():
        ratios = [r[name]["whole"] / r[OURS]["whole"] for r in rounds]
        median = statistics.median(ratios)
        verdict = "reached" if median >= target else "missed"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{median:.2f} times as fast as {name} ({spread}; target {target}: {verdict})")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
