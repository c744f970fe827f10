"""Settings of REINFORCE and the actor-critic; the defaults are the Hopper study's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from Common.checks import check_at_least, check_positive, check_shares
from Common.errors import UserError

Schedule = Callable[[float], float]  # as SB3's, which would import torch


@dataclass(frozen=True)
class PolicyGradientConfig:
    """Settings of both methods."""

    learning_rate: float | Schedule = 1e-3  # a schedule is of the remaining progress, 1 to 0
    gamma: float = 0.99  # discount
    n_episodes: int = 1  # complete episodes per update and environment
    max_grad_norm: float = math.inf  # of all gradients together; inf: no clipping
    max_episode_steps: int = 10_000  # env steps; a longer episode is an error

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate")
        check_shares(self, "gamma")
        check_at_least(self, n_episodes=1, max_episode_steps=1)
        if not self.max_grad_norm > 0:
            raise UserError(f"`max_grad_norm` {self.max_grad_norm} must be above 0.")


@dataclass(frozen=True)
class ReinforceConfig(PolicyGradientConfig):
    """Settings of REINFORCE. The study's baselines are 0 and 20."""

    baseline: float = 0.0  # subtracted from every return, in units of the return
    normalize_returns: bool = False  # zero mean, unit standard deviation over the update's steps

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.baseline):
            raise UserError(f"`baseline` {self.baseline} must be finite.")
        if self.normalize_returns and self.baseline:
            raise UserError(
                f"`normalize_returns` subtracts the mean return, so `baseline` {self.baseline:g} "
                "would have no effect. Give one of the two."
            )


@dataclass(frozen=True)
class ActorCriticConfig(PolicyGradientConfig):
    """Settings of the actor-critic. The study's is one-step."""

    n_steps: int = 1  # env steps of rewards in the critic's target before bootstrapping
    vf_coef: float = 0.5  # weight of the critic's loss
    normalize_advantage: bool = False  # zero mean, unit standard deviation over the update's steps

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, n_steps=1)
        check_positive(self, "vf_coef")
