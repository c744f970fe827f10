"""Which settings of on-policy methods make sense; PPD's and the distillations' share these."""

from __future__ import annotations

import math
from typing import Protocol

from Algorithm.losses import KL_DIRECTIONS
from Enviroment.errors import UserError


class OnPolicySettings(Protocol):
    """What both configurations have."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def gamma(self) -> float: ...
    @property
    def gae_lambda(self) -> float: ...
    @property
    def ent_coef(self) -> float: ...
    @property
    def vf_coef(self) -> float: ...
    @property
    def max_grad_norm(self) -> float: ...
    @property
    def kl_direction(self) -> str: ...


def check_settings(config: OnPolicySettings) -> None:
    """Refuses numbers outside of their range.

    Raises:
        UserError: names the first of them.
    """
    check_kl_direction(config.kl_direction)
    if not 0 < config.learning_rate < math.inf:
        raise UserError(f"--learning_rate {config.learning_rate} must be finite and above 0.")
    for name in ("gamma", "gae_lambda"):
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(f"--{name} {getattr(config, name)} must lie in [0, 1].")
    for name in ("ent_coef", "vf_coef"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"--{name} {getattr(config, name)} must be finite and at least 0.")
    if not config.max_grad_norm > 0:
        raise UserError(f"--max_grad_norm {config.max_grad_norm} must be above 0.")


def check_kl_direction(direction: str, name: str = "kl_direction") -> None:
    """Refuses what is no direction of the KL.

    Args:
        name: of the argument.

    Raises:
        UserError: it is neither forward nor reverse.
    """
    if direction not in KL_DIRECTIONS:
        raise UserError(f"{name} {direction!r} is not forward or reverse.")
