"""The settings that PPD and the distillations share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Algorithm.on_policy.losses import KL_DIRECTIONS
from Common.errors import UserError


@dataclass(frozen=True)
class OnPolicyConfig:
    """The paper's."""

    learning_rate: float = 3e-4
    gamma: float = 0.999
    gae_lambda: float = 0.9
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    kl_direction: str = "forward"  # KL(teacher || student); "reverse" the other way

    def __post_init__(self) -> None:
        check_kl_direction(self.kl_direction)
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"`learning_rate` {self.learning_rate} must be finite and above 0.")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"`{name}` {getattr(self, name)} must lie in [0, 1].")
        for name in ("ent_coef", "vf_coef"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"`{name}` {getattr(self, name)} must be finite and at least 0.")
        if not self.max_grad_norm > 0:
            raise UserError(f"`max_grad_norm` {self.max_grad_norm} must be above 0.")


def check_kl_direction(direction: str, name: str = "kl_direction") -> None:
    """Refuses what is no direction of the KL.

    Args:
        name: of the argument.

    Raises:
        UserError: it is neither forward nor reverse.
    """
    if direction not in KL_DIRECTIONS:
        raise UserError(f"{name} {direction!r} is not forward or reverse.")
