"""Whether an episode succeeded, as its environment reports it in the info of a step.

An episode succeeds if the info of its *final* step says so. Environments that end on success, such as
Gymnasium-Robotics' Adroit hand with a wrapper or gym-aloha, need no other rule; in those that go on,
such as FetchReach, it asks that the goal is held, as their papers and SB3's `EvalCallback` do.
Meta-World counts success at any step: its published rates are up to a few per cent higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

IS_SUCCESS = "is_success"  # in infos of this package, as SB3 reads it
# Gymnasium-Robotics' goal environments, panda-gym and gym-pusht; Adroit, PointMaze and Meta-World.
_KEYS = (IS_SUCCESS, "success")


def read_success(info: Mapping[str, Any]) -> bool | None:
    """Return what the info of a step says about success; None if it says nothing."""
    for key in _KEYS:
        value = info.get(key)
        if isinstance(value, bool | int | float | np.bool_ | np.number):
            return bool(value)
        if isinstance(value, np.ndarray) and value.size == 1:
            return bool(value.item())
    return None
