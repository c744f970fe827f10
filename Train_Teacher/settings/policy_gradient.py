"""Settings of the teachers trained with REINFORCE and the actor-critic of the Hopper study."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Algorithm.policy_gradient.config import ActorCriticConfig, ReinforceConfig
from Common.checks import check_at_least
from Common.errors import UserError
from Models.networks.limits import check_activation


@dataclass(frozen=True)
class _Training:
    """Settings in addition to those of the algorithms, which use raw states and rewards."""

    total_timesteps: int = 500_000  # env steps in total
    num_envs: int = 1  # number of parallel environments; an update waits for their longest episode
    learning_rate: float = 1e-3  # constant learning rate
    net_arch: tuple[int, ...] = (64, 64)  # units of the hidden layers of actor and critic
    activation: str = "Tanh"  # activation function: a class of torch.nn
    max_grad_norm: float = 1e6  # maximum norm of the gradient; the default clips nothing

    def check(self) -> None:
        """Raise UserError if a setting is invalid."""
        check_at_least(self, total_timesteps=1, num_envs=1)
        if not math.isfinite(self.max_grad_norm):  # JSON, the format of bundles, has no infinity
            raise UserError("--max_grad_norm must be finite. To disable clipping, use 1e6.")
        if not self.net_arch or min(self.net_arch) < 1:
            raise UserError("--net_arch needs at least one hidden layer of at least one unit.")
        check_activation(self.activation)


@dataclass(frozen=True)
class ReinforceTeacherConfig(_Training, ReinforceConfig):
    """REINFORCE. The study uses the baselines 0 and 20."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


@dataclass(frozen=True)
class ActorCriticTeacherConfig(_Training, ActorCriticConfig):
    """Actor-critic. The study uses the one-step form."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
