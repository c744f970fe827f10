"""Settings of the teachers that REINFORCE and the actor-critic of the Hopper study train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Algorithm.policy_gradient.config import ActorCriticConfig, ReinforceConfig
from Common.errors import UserError
from Models.networks.layers import activation_class


@dataclass(frozen=True)
class _Training:
    """What the algorithms' own settings leave open. They see raw states and rewards."""

    total_timesteps: int = 500_000  # env steps, all environments together
    num_envs: int = 1  # training environments; more wait for the longest episode
    learning_rate: float = 1e-3  # constant: a flag is no schedule
    net_arch: tuple[int, ...] = (64, 64)  # units of the hidden layers, actor and critic each
    activation: str = "Tanh"  # a class of torch.nn
    max_grad_norm: float = 1e6  # of all gradients together; so large, it clips nothing

    def check(self) -> None:
        """Raises UserError."""
        for name in ("total_timesteps", "num_envs"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} must be at least 1.")
        if not math.isfinite(self.max_grad_norm):  # JSON, which bundles hold, has no infinity
            raise UserError("--max_grad_norm must be finite; 1e6 clips nothing either.")
        if not self.net_arch or min(self.net_arch) < 1:
            raise UserError("--net_arch needs at least one hidden layer of at least one unit.")
        activation_class(self.activation)


@dataclass(frozen=True)
class ReinforceTeacherConfig(_Training, ReinforceConfig):
    """REINFORCE; the study's baselines are 0 and 20."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


@dataclass(frozen=True)
class ActorCriticTeacherConfig(_Training, ActorCriticConfig):
    """The actor-critic; the study's is one-step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
