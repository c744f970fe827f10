"""The on-policy losses as pure functions of tensors.

Equations are those of Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), and
of Schulman et al., "Proximal Policy Optimization", 2017. Losses are means over the batch; KL
divergences are summed over action dimensions first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from Models.distributions import Distribution


@dataclass(frozen=True)
class Losses:
    """The losses of one minibatch: `total` is minimised, the scalars in `terms` are logged.

    `critic` is the critic's part of the total, which is minimised instead during critic warm-up.
    """

    total: Tensor
    terms: dict[str, Tensor]
    critic: Tensor


def probability_ratio(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """Return r = pi(a|s) / pi_old(a|s): `(B,)`."""
    return (log_prob - old_log_prob).exp()


def ppo_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Return -mean min(r A, clip(r, 1 - eps, 1 + eps) A), PPO's equation 7, to be minimised.

    Equal to -mean min(r A, g(eps, A)) with g = (1 + eps) A for A >= 0, else (1 - eps) A.
    """
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.min(ratio * advantages, clipped * advantages).mean()


def kl_to_teacher(teacher: Distribution, student: Distribution, direction: str) -> Tensor:
    """Return KL(teacher || student) if `direction` is "forward", KL(student || teacher) otherwise.

    Returns:
        `(B,)`, summed over action dimensions.
    """
    return teacher.kl(student) if direction == "forward" else student.kl(teacher)


def ppd_distillation_loss(kl: Tensor, ratio: Tensor, clip_range: float) -> Tensor:
    """Return mean[KL max(r, 1 - eps)], PPD's equation 3: the importance-weighted distillation term.

    The clip keeps the term from vanishing for actions that the student has learned to avoid. Pass
    `ratio.detach()` to weight by r without a gradient through it.
    """
    return (kl * ratio.clamp(min=1 - clip_range)).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """Return mean (V - G)^2, without PPO's factor 1/2, as in SB3."""
    return F.mse_loss(values, returns)


def clip_values(values: Tensor, old_values: Tensor, clip_range: float) -> Tensor:
    """Clip values to within `clip_range` of those of the rollout, in units of the rewards."""
    return old_values + (values - old_values).clamp(-clip_range, clip_range)


def normalise_advantages(advantages: Tensor, joint: Tensor | None = None) -> Tensor:
    """Normalise to zero mean and unit standard deviation; leave a single sample unchanged.

    Args:
        joint: advantages of the whole minibatch if `advantages` is a part of it.
    """
    joint = advantages if joint is None else joint
    if len(joint) < 2:
        return advantages
    return (advantages - joint.mean()) / (joint.std() + 1e-8)
