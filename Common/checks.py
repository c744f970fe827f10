"""Checks of settings. Each raises UserError with the name and the value of the setting.

A setting that is None, or a schedule (a function of the remaining progress), is not checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from Common.errors import UserError


def check_at_least(config: object, **least: float) -> None:
    """Check minimum values, by the name of the setting."""
    for name, smallest in least.items():
        _check(config, (name,), lambda value, s=smallest: value >= s, f"at least {smallest:g}")


def check_positive(config: object, *names: str) -> None:
    """Check that settings are finite and above 0."""
    _check(config, names, lambda value: 0 < value < math.inf, "finite and above 0")


def check_not_negative(config: object, *names: str) -> None:
    """Check that settings are finite and at least 0."""
    _check(config, names, lambda value: 0 <= value < math.inf, "finite and at least 0")


def check_shares(config: object, *names: str) -> None:
    """Check that settings are in [0, 1]."""
    _check(config, names, lambda value: 0 <= value <= 1, "in [0, 1]")


def _check(
    config: object, names: tuple[str, ...], is_valid: Callable[[float], bool], what: str
) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not callable(value) and not is_valid(value):
            raise UserError(f"`{name}` {value} must be {what}.")
