"""Families of action distributions, and their exact KL divergences.

A *raw* action is the form in the rollout buffer: the action itself or, for a squashed Gaussian,
the sample before the tanh. Inverting the tanh afterwards would lose saturated actions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3.common import distributions as sb3
from torch import Tensor

from Models.families import (
    BERNOULLI,
    CATEGORICAL,
    GAUSSIAN,
    MULTI_CATEGORICAL,
    SQUASHED_GAUSSIAN,
)

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_QUADRATURE_NODES = 32
# A finite logit whose probability is exactly 0 in float32 and float64: 0 * -inf would be NaN.
_ABSENT = -1e9


@dataclass(frozen=True)
class Distribution(ABC):
    """A batch of distributions over actions. The dataclass fields are the parameters."""

    family: ClassVar[str]
    is_discrete: ClassVar[bool] = False  # discrete actions have no differences

    @abstractmethod
    def mode(self) -> Tensor:
        """Return the most probable raw action."""

    @abstractmethod
    def sample(self) -> Tensor:
        """Draw a raw action from torch's global generator, without a gradient."""

    @abstractmethod
    def log_prob(self, raw: Tensor) -> Tensor:
        """Return the log-density of raw actions: `(B, action_dim)` -> `(B,)`."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Return the entropy in nats: `(B,)`."""

    @abstractmethod
    def _kl(self, other: Self) -> Tensor: ...

    def kl(self, other: Distribution) -> Tensor:
        """Return KL(self || other), summed over action dimensions: `(B,)`.

        Raises:
            TypeError: the families differ. A Gaussian's support exceeds a squashed Gaussian's,
                so one direction is infinite and the other has no closed form.
        """
        if type(self) is not type(other):
            raise TypeError(f"No exact KL between {self.family} and {other.family}.")
        return self._kl(other)

    def to_env_action(self, raw: Tensor) -> Tensor:
        """Return the action; for a squashed Gaussian in [-1, 1], before scaling to the bounds."""
        return raw

    def params(self) -> dict[str, Tensor]:
        """Return the parameters by name, as stored in rollouts and datasets."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __getitem__(self, index: Tensor | slice) -> Self:
        """Return the distributions at some indices of the batch."""
        return type(self)(**{name: value[index] for name, value in self.params().items()})


@dataclass(frozen=True)
class DiagGaussian(Distribution):
    """Independent Gaussians, `mean` and `log_std` both `(B, action_dim)`."""

    family: ClassVar[str] = GAUSSIAN
    mean: Tensor
    log_std: Tensor

    def mode(self) -> Tensor:
        return self.mean

    def sample(self) -> Tensor:
        with torch.no_grad():
            return self.mean + torch.randn_like(self.mean) * self.log_std.exp()

    def log_prob(self, raw: Tensor) -> Tensor:
        z = (raw - self.mean) / self.log_std.exp()
        return (-0.5 * z.square() - self.log_std - _LOG_SQRT_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 + _LOG_SQRT_2PI).sum(-1)

    def within(self, low: Tensor, high: Tensor, margin: float) -> Self:
        """Return it with means at most `margin` standard deviations out of the bounds, `(A,)`."""
        reach = margin * self.log_std.exp()  # (B, A)
        return type(self)(self.mean.clamp(low - reach, high + reach), self.log_std)

    def _kl(self, other: Self) -> Tensor:
        """Return sum_i [ln(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2]."""
        variance_ratio = (2 * (self.log_std - other.log_std)).exp()
        z = (self.mean - other.mean) / other.log_std.exp()
        return (other.log_std - self.log_std + 0.5 * (variance_ratio + z.square() - 1)).sum(-1)


@dataclass(frozen=True)
class SquashedGaussian(DiagGaussian):
    """tanh of a diagonal Gaussian (SAC); the fields describe the Gaussian before the tanh.

    The KL is inherited: it is invariant under a bijection, so between two distributions squashed
    by the same tanh it is exactly the KL of their Gaussians. Densities are those of the action
    in [-1, 1].
    """

    family: ClassVar[str] = SQUASHED_GAUSSIAN

    def log_prob(self, raw: Tensor) -> Tensor:
        return super().log_prob(raw) - _log_tanh_slope(raw).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy of the Gaussian plus E[ln tanh'(u)], by Gauss-Hermite quadrature.

        No closed form exists; 32 nodes are exact to 2e-3 nats per dimension up to a standard
        deviation of e, where a one-sample estimate is off by a whole nat.
        """
        nodes, weights = _gauss_hermite(self.mean.dtype, self.mean.device)
        raw = self.mean.unsqueeze(-1) + self.log_std.exp().unsqueeze(-1) * nodes  # (B, A, nodes)
        return super().entropy() + (_log_tanh_slope(raw) @ weights).sum(-1)

    def to_env_action(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw)


@dataclass(frozen=True)
class Categorical(Distribution):
    """One of n discrete actions, `logits` `(B, n)`; raw actions are int64 `(B,)`."""

    family: ClassVar[str] = CATEGORICAL
    is_discrete: ClassVar[bool] = True
    logits: Tensor

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def sample(self) -> Tensor:
        with torch.no_grad():
            return torch.multinomial(self.logits.softmax(-1), 1).squeeze(-1)

    def log_prob(self, raw: Tensor) -> Tensor:
        return self.logits.log_softmax(-1).gather(-1, raw.long().view(-1, 1)).squeeze(-1)

    def entropy(self) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def _kl(self, other: Self) -> Tensor:
        log_p, log_q = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)


@dataclass(frozen=True)
class MultiCategorical(Distribution):
    """Independent categoricals, one per discrete action; raw actions are int64 `(B, D)`.

    `logits` is `(B, D, n)`, where n is the largest number of choices of the D actions. Missing
    choices of an action have probability 0: construct with `from_flat`.
    """

    family: ClassVar[str] = MULTI_CATEGORICAL
    is_discrete: ClassVar[bool] = True
    logits: Tensor

    @classmethod
    def from_flat(cls, logits: Tensor, choices: tuple[int, ...]) -> Self:
        """Construct from `(B, sum of choices)`, with the logits of the first action first."""
        widest = max(choices)
        padded = [
            F.pad(part, (0, widest - part.shape[-1]), value=_ABSENT)
            for part in logits.split(choices, dim=-1)
        ]
        return cls(torch.stack(padded, dim=-2))  # (B, D, n)

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def sample(self) -> Tensor:
        with torch.no_grad():
            flat = self.logits.softmax(-1).flatten(0, -2)  # (B * D, n)
            return torch.multinomial(flat, 1).view(self.logits.shape[:-1])

    def log_prob(self, raw: Tensor) -> Tensor:
        chosen = raw.long().view(self.logits.shape[:-1]).unsqueeze(-1)  # (B, D, 1)
        return self.logits.log_softmax(-1).gather(-1, chosen).squeeze(-1).sum(-1)

    def entropy(self) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum((-2, -1))

    def _kl(self, other: Self) -> Tensor:
        log_p, log_q = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum((-2, -1))


@dataclass(frozen=True)
class Bernoulli(Distribution):
    """Independent switches, `logits` of being on; raw actions are int64 0 or 1, both `(B, D)`."""

    family: ClassVar[str] = BERNOULLI
    is_discrete: ClassVar[bool] = True
    logits: Tensor

    def mode(self) -> Tensor:
        return (self.logits > 0).long()

    def sample(self) -> Tensor:
        with torch.no_grad():
            return torch.bernoulli(self.logits.sigmoid()).long()

    def log_prob(self, raw: Tensor) -> Tensor:
        on = raw.to(self.logits.dtype).view(self.logits.shape)
        # ln sigmoid(l) where on, ln sigmoid(-l) where off.
        return F.logsigmoid(self.logits * (2 * on - 1)).sum(-1)

    def entropy(self) -> Tensor:
        """Return sum_i [softplus(l) - l sigmoid(l)]."""
        return (F.softplus(self.logits) - self.logits * self.logits.sigmoid()).sum(-1)

    def _kl(self, other: Self) -> Tensor:
        """Return sum_i [p (l1 - l2) + softplus(l2) - softplus(l1)], p = sigmoid(l1)."""
        difference = self.logits.sigmoid() * (self.logits - other.logits)
        return (difference + F.softplus(other.logits) - F.softplus(self.logits)).sum(-1)


FAMILIES: dict[str, type[Distribution]] = {
    cls.family: cls
    for cls in (DiagGaussian, SquashedGaussian, Categorical, MultiCategorical, Bernoulli)
}


def from_sb3(distribution: sb3.Distribution) -> Distribution:
    """Convert the distribution of an SB3 policy's `get_distribution`, with its gradient.

    Raises:
        TypeError: the family has no exact KL here.
    """
    if isinstance(distribution, sb3.MultiCategoricalDistribution):
        logits = torch.cat([part.logits for part in distribution.distribution], dim=-1)
        return MultiCategorical.from_flat(logits, tuple(distribution.action_dims))
    inner: Any = distribution.distribution
    if isinstance(distribution, sb3.SquashedDiagGaussianDistribution):
        return SquashedGaussian(inner.mean, inner.stddev.log())
    if isinstance(distribution, sb3.DiagGaussianDistribution):
        return DiagGaussian(inner.mean, inner.stddev.log())
    if isinstance(distribution, sb3.CategoricalDistribution):
        return Categorical(inner.logits)
    if isinstance(distribution, sb3.BernoulliDistribution):
        return Bernoulli(inner.logits)
    raise TypeError(f"{type(distribution).__name__} has no exact KL here.")


def _log_tanh_slope(raw: Tensor) -> Tensor:
    """Return ln(1 - tanh(u)^2), stable for any u."""
    return 2 * (math.log(2) - raw - F.softplus(-2 * raw))


@cache
def _gauss_hermite(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return nodes and weights whose weighted sum is the mean over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_NODES)
    weights = weights / weights.sum()
    return (
        torch.as_tensor(nodes, dtype=dtype, device=device),
        torch.as_tensor(weights, dtype=dtype, device=device),
    )
