"""Settings of the methods that learn from rollouts.

The defaults were tuned on Pusher; comments give the PPD paper's settings that differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from Algorithm.sequences import SEQUENCE_LENGTH
from Common.checks import check_at_least, check_not_negative, check_positive, check_shares
from Common.errors import UserError

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import Schedule

KL_DIRECTIONS = ("forward", "reverse")


@dataclass(frozen=True)
class OnPolicyConfig:
    """Common settings. A schedule is a function of the remaining progress, from 1 to 0."""

    learning_rate: float | Schedule = 1e-3  # paper: 3e-4
    n_steps: int = 64  # env steps per rollout and environment
    batch_size: int | None = None  # samples per minibatch; None: the whole rollout
    n_epochs: int = 1  # passes over a rollout
    gamma: float = 0.999  # discount
    gae_lambda: float = 0.9
    ent_coef: float = 0.0  # weight of the entropy bonus
    vf_coef: float = 0.5  # weight of the critic's loss
    max_grad_norm: float = 0.5
    kl_direction: str = "forward"  # KL(teacher || student); "reverse": KL(student || teacher)
    critic_warmup: int = 0  # env steps in which only the critic is trained
    # Env steps through which gradients flow in a recurrent student, at most a rollout
    sequence_length: int = SEQUENCE_LENGTH

    def __post_init__(self) -> None:
        check_kl_direction(self.kl_direction)
        check_positive(self, "learning_rate", "max_grad_norm")
        check_shares(self, "gamma", "gae_lambda")
        check_not_negative(self, "ent_coef", "vf_coef")
        check_at_least(self, n_steps=1, batch_size=1, n_epochs=1, sequence_length=1)


@dataclass(frozen=True)
class PPDConfig(OnPolicyConfig):
    """Settings of PPD, and of PPO with `distill_lambda` 0."""

    distill_lambda: float | Schedule = 5.0  # weight of the KL to the teacher; 0 is PPO
    batch_size: int | None = 32  # paper: 512
    n_epochs: int = 4
    clip_range: float | Schedule = 0.2  # of the probability ratio
    clip_range_vf: float | Schedule | None = None  # of the value per update; None: no limit
    normalize_advantage: bool = True  # per minibatch
    target_kl: float | None = None  # ends an update if the KL to the old policy is 1.5 times it
    detach_ratio: bool = True  # False (paper): gradient through the KL's importance weight

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "clip_range", "clip_range_vf", "target_kl")
        check_not_negative(self, "distill_lambda")


@dataclass(frozen=True)
class DistillConfig(OnPolicyConfig):
    """Settings of student-distill and teacher-distill, with one gradient step per rollout."""

    learning_rate: float | Schedule = 2e-3  # paper: 3e-4
    n_steps: int = 5  # env steps per rollout and environment


def check_kl_direction(direction: str, name: str = "kl_direction") -> None:
    """Raise UserError for an unknown direction of the KL.

    Args:
        name: name of the argument in messages.

    Raises:
        UserError: the direction is neither forward nor reverse.
    """
    if direction not in KL_DIRECTIONS:
        raise UserError(f"{name} {direction!r} is not forward or reverse.")


def check_warmup(critic_warmup: int, rollout: int, total_timesteps: float = math.inf) -> None:
    """Raise UserError for an invalid warm-up. All arguments are in env steps.

    Args:
        rollout: env steps per rollout of all environments; a warm-up consists of whole rollouts.
        total_timesteps: env steps of the training, if known.

    Raises:
        UserError: the warm-up is below 0, shorter than a rollout, or leaves no steps for the actor.
    """
    if critic_warmup < 0:
        raise UserError(f"`critic_warmup` {critic_warmup} cannot be below 0 env steps.")
    if 0 < critic_warmup < rollout:
        raise UserError(
            f"`critic_warmup` {critic_warmup} is below one rollout of {rollout} env steps, so it "
            "would have no effect. Increase it."
        )
    if critic_warmup >= total_timesteps:
        raise UserError(
            f"`critic_warmup` {critic_warmup} leaves nothing of `total_timesteps` "
            f"{total_timesteps:g} for the actor. Lower it."
        )
