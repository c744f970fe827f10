"""A short training in float64 whose every random number is known, on one rank or on several.

    torchrun --standalone --nproc_per_node 2 -m tests.support.rank_training FOLDER

Each rank writes what it learned to FOLDER/rank_<n>.json. Noise and order of minibatches are drawn
for all environments alike, so that one process with all of them makes the same samples.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from Algorithm.distributed import gather, is_first, joined, rank, share_of, world_size
from Algorithm.on_policy.distill import TeacherDistill
from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Enviroment.make import make_env
from Models.distributions import DiagGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from tests.support.tiny_teacher import tiny_teacher

N_RANKS = 2  # where it is not one
N_ENVS, N_STEPS, BATCH = 4, 16, 24  # of all ranks together; 64 samples: the last batch is a part
N_ROLLOUTS = 7  # staggered: of four environments the last has a whole episode, of 100 steps

CASES: dict[str, dict[str, Any]] = {
    "PPD": {"batch_size": BATCH, "n_epochs": 2, "critic_warmup": N_ENVS * N_STEPS},
    "PPD with target_kl": {
        "batch_size": BATCH,
        "n_epochs": 2,
        "target_kl": 1e-3,
        "detach_ratio": False,
    },
    "TeacherDistill": {},
}


class Recorder(KVWriter):
    """Keeps every logging point, without the clock."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        kept = {k: float(v) for k, v in key_values.items() if not k.startswith("time/")}
        self.points.append({"step": step, **kept})

    def close(self) -> None:
        pass


class Skill(BaseCallback):
    """Tells the schedule a skill, as an evaluation would: on rank 0 alone."""

    def __init__(self, schedule: LambdaSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def _on_rollout_start(self) -> None:
        if is_first():
            self.schedule.take_skill(0.2 + self.num_timesteps / 1000)

    def _on_step(self) -> bool:
        return True


class Stop(BaseCallback):
    """Ends the training in the second rollout, on the last rank alone."""

    def _on_step(self) -> bool:
        return not (rank() == world_size() - 1 and self.n_calls > N_STEPS + 3)


def known_noise() -> Callable[[DiagGaussian], Tensor]:
    """`DiagGaussian.sample` for this rank's rows of noise that is drawn for all environments."""
    generator, rows = np.random.default_rng(0), share_of(N_ENVS, "")

    def sample(self: DiagGaussian) -> Tensor:
        noise = generator.standard_normal((N_ENVS, self.mean.shape[-1]))[rows.start : rows.stop]
        return (self.mean + torch.from_numpy(noise) * self.log_std.exp()).detach()

    return sample


def known_order(batch_size: int | None) -> Callable[[int], np.ndarray]:
    """`np.random.permutation` of a rank's samples; in one process of all, so that each minibatch
    is made of one minibatch of each rank.
    """
    generator = np.random.default_rng(1)

    def permutation(total: int) -> np.ndarray:
        part = total * world_size() // N_RANKS
        orders = [generator.permutation(part) for _ in range(N_RANKS)]
        if world_size() == N_RANKS:
            return orders[rank()]
        size = (batch_size or total) // N_RANKS
        pieces = [
            order[start : start + size] + number * part
            for start in range(0, part, size)
            for number, order in enumerate(orders)
        ]
        return np.concatenate(pieces)

    return permutation


def float64_teacher() -> Teacher:
    """So that its answers do not depend on how many it is asked for at once."""
    teacher = tiny_teacher().double()
    teacher.encoder.register_forward_hook(lambda module, inputs, features: features.double())
    return teacher


def make_model(case: str) -> tuple[OnPolicyStudent, LambdaSchedule]:
    rows = share_of(N_ENVS, "--num_envs")
    inner = make_env("Pusher", len(rows), 0, workers="serial", blind=True, stagger=True)
    inner.take_rows(rows.start, N_ENVS)
    # Rewards as they are: normalised ones differ within a rollout, by the ranks' own statistics.
    env = VecNormalize(inner, norm_obs=False, norm_reward=False)
    network = StudentConfig(mode="State", family="squashed_gaussian", head=(8,))
    schedule = LambdaSchedule(5.0, 1.0, "skill")
    settings: dict[str, Any] = {
        "teacher": float64_teacher(),
        "n_steps": N_STEPS,
        "learning_rate": 3e-3,
        "ent_coef": 0.01,
        "max_grad_norm": 2.0,
        "policy_kwargs": {"config": network},
        "seed": 1,
        "device": "cpu",
        **CASES[case],
    }
    model: OnPolicyStudent
    if case == "TeacherDistill":
        model = TeacherDistill(StudentPolicy, env, **settings)
    else:
        settings["batch_size"] = len(share_of(BATCH, "--batch_size"))
        model = PPD(StudentPolicy, env, distill_lambda=schedule, **settings)
    model.policy.double()
    env.seed(0)
    return model, schedule


def trained(case: str) -> dict[str, Any]:
    """Every gradient, as it was clipped, the weights, what was logged, the normaliser."""
    model, schedule = make_model(case)
    own_noise = torch.rand(1).item()
    gradients: list[list[float]] = []
    if rank() > 0:
        with torch.no_grad():
            next(model.policy.parameters()).add_(1.0)  # until rank 0's weights replace it
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    step = model.policy.optimizer.step

    def recorded_step() -> None:
        learning = [p.grad for p in model.policy.parameters() if p.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in learning]).tolist())
        step()

    model.policy.optimizer.step = recorded_step  # pyright: ignore[reportAttributeAccessIssue]
    model.learn(N_ENVS * N_STEPS * N_ROLLOUTS, Skill(schedule))
    assert isinstance(model.env, VecNormalize)
    statistics = model.env.ret_rms
    return {
        "gradients": gradients,
        "weights": torch.nn.utils.parameters_to_vector(model.policy.parameters()).tolist(),
        "points": recorder.points,
        "normaliser": [float(statistics.mean), float(statistics.var), float(statistics.count)],
        "own_noise": own_noise,
    }


def stopped() -> int:
    """Gradient steps after which a callback of one rank has ended the training on all."""
    model, _ = make_model("PPD")
    model.learn(N_ENVS * N_STEPS * N_ROLLOUTS, Stop())
    return model.gradient_steps


def main(folder: Path) -> None:
    """Trains every case on this rank."""
    torch.set_num_threads(1)
    with joined():
        outcome: dict[str, Any] = {"ranks": gather(rank())}
        for case in CASES:
            with (
                patch.object(DiagGaussian, "sample", known_noise()),
                patch.object(np.random, "permutation", known_order(CASES[case].get("batch_size"))),
            ):
                outcome[case] = trained(case)
        outcome["stopped"] = stopped()
        (folder / f"rank_{rank()}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
