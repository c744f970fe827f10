"""The losses, as pure functions of tensors.

Equations are those of Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), and
of Schulman et al., "Proximal Policy Optimization", 2017. Everything is a mean over the batch;
KL divergences are summed over action dimensions before that, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from Models.distributions import Distribution


@dataclass(frozen=True)
class Losses:
    """What one minibatch gives: `total` is minimised, the scalars in `terms` are logged.

    `critic` is the critic's part of the total, which alone is minimised while the critic warms up.
    """

    total: Tensor
    terms: dict[str, Tensor]
    critic: Tensor


def probability_ratio(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """r = pi(a|s) / pi_old(a|s): `(B,)`."""
    return (log_prob - old_log_prob).exp()


def ppo_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """-mean min(r A, clip(r, 1 - eps, 1 + eps) A), PPO's equation 7, to be minimised.

    The same as -mean min(r A, g(eps, A)) with g = (1 + eps) A for A >= 0, else (1 - eps) A.
    """
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.min(ratio * advantages, clipped * advantages).mean()


def kl_to_teacher(teacher: Distribution, student: Distribution, direction: str) -> Tensor:
    """KL(teacher || student) if `direction` is "forward", KL(student || teacher) if "reverse".

    Returns:
        `(B,)`, summed over action dimensions.
    """
    return teacher.kl(student) if direction == "forward" else student.kl(teacher)


def ppd_distillation_loss(kl: Tensor, ratio: Tensor, clip_range: float) -> Tensor:
    """mean[KL max(r, 1 - eps)], PPD's equation 3: the distillation term, importance-weighted.

    The clip keeps the pull to the teacher from vanishing where the student has come to avoid an
    action. Pass `ratio.detach()` to weigh by r without a gradient through it.
    """
    return (kl * ratio.clamp(min=1 - clip_range)).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """mean (V - G)^2, without PPO's factor 1/2, as in SB3."""
    return F.mse_loss(values, returns)


def clip_values(values: Tensor, old_values: Tensor, clip_range: float) -> Tensor:
    """Values no further than `clip_range` from those of the rollout, in the rewards' units."""
    return old_values + (values - old_values).clamp(-clip_range, clip_range)


def normalise_advantages(advantages: Tensor, joint: Tensor | None = None) -> Tensor:
    """Zero mean and unit deviation over the minibatch; unchanged if it is a single sample.

    Args:
        joint: the whole minibatch's advantages, where these are a part of it.
    """
    joint = advantages if joint is None else joint
    if len(joint) < 2:
        return advantages
    return (advantages - joint.mean()) / (joint.std() + 1e-8)
