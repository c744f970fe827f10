"""What a rollout has to say to the logger."""

from __future__ import annotations

from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import explained_variance, safe_mean

from Algorithm.rollout import StudentRolloutBuffer
from Models.distributions import Distribution


def log_student(logger: Logger, student: Distribution, teacher: Distribution | None) -> None:
    """The student as it acted in the rollout, and beside the teacher where there is one."""
    logger.record("rollout/entropy", student.entropy().mean().item())
    if teacher is not None:
        logger.record("rollout/kl", teacher.kl(student).mean().item())
        logger.record("rollout/action_accuracy", action_accuracy(student, teacher))


def log_episodes(logger: Logger, episodes: list[dict[str, float]], return_key: str) -> None:
    """Mean return and length of the training episodes that ended last."""
    if episodes:
        logger.record(return_key, safe_mean([info["r"] for info in episodes]))
        logger.record("rollout/ep_length", safe_mean([info["l"] for info in episodes]))


def log_critic(logger: Logger, buffer: StudentRolloutBuffer) -> None:
    """How much of the returns the critic explains: 1 all, 0 no more than their mean."""
    variance = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
    logger.record("train/explained_variance", variance)


def action_accuracy(student: Distribution, teacher: Distribution) -> float:
    """1 - mean squared difference of the two modes, or for discrete actions the share of equal
    ones (the Pusher toolkit's "accuracy"); squashed actions are compared in [-1, 1].
    """
    ours, theirs = (d.to_env_action(d.mode()) for d in (student, teacher))
    if not ours.is_floating_point():
        return (ours == theirs).float().mean().item()
    return 1 - (ours - theirs).square().mean().item()
