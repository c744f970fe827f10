"""Log the metrics of a rollout."""

from __future__ import annotations

import time

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import explained_variance, safe_mean

from Algorithm.distributed import gather, means, of_all_ranks, world_size
from Algorithm.meter import to_numbers
from Algorithm.on_policy.rollout import StudentRolloutBuffer
from Algorithm.on_policy.state import ResumableOnPolicy
from Models.agreement import ActionAccuracy
from Models.distributions import Distribution


def log_student(
    logger: Logger, student: Distribution, teacher: Distribution | None, accuracy: ActionAccuracy
) -> None:
    """Log the student's entropy in the rollout and, with a teacher, KL and action accuracy."""
    figures = {"entropy": student.entropy().mean()}
    if teacher is not None:
        figures["kl"] = teacher.kl(student).mean()
        if accuracy.is_defined:
            figures["action_accuracy"] = accuracy.of_modes(student, teacher).mean()
    for name, value in means(to_numbers(figures)).items():
        logger.record(f"rollout/{name}", value)


def log_episodes(logger: Logger, model: BaseAlgorithm, return_key: str) -> None:
    """Log mean return, length and success of the last training episodes of all ranks."""
    own = [list(buffer or ()) for buffer in (model.ep_info_buffer, model.ep_success_buffer)]
    episodes, successes = (
        [value for part in of_ranks for value in part]
        for of_ranks in zip(*gather(own), strict=True)
    )
    if episodes:
        logger.record(return_key, safe_mean([info["r"] for info in episodes]))
        logger.record("rollout/ep_length", safe_mean([info["l"] for info in episodes]))
    if successes:
        logger.record("rollout/success_rate", safe_mean(successes))


def log_critic(logger: Logger, buffer: StudentRolloutBuffer) -> None:
    """Log the share of the returns' variance that the critic explains; 1 is perfect."""
    values, returns = (
        of_all_ranks(torch.from_numpy(array.flatten())).numpy()
        for array in (buffer.values, buffer.returns)
    )
    logger.record("train/explained_variance", explained_variance(values, returns))


def log_clock(
    logger: Logger, model: ResumableOnPolicy, rollout_seconds: float, update_seconds: float
) -> None:
    """Log the steps so far, and the time of the latest rollout and update."""
    rollout = model.n_steps * model.n_envs * world_size()  # env steps
    for name, value in {
        **model.counters,
        "rollout_seconds": rollout_seconds,
        "update_seconds": update_seconds,
        "steps_per_second": rollout / (rollout_seconds + update_seconds),
        "seconds": (time.time_ns() - model.start_time) / 1e9,
    }.items():
        logger.record(f"time/{name}", value)
