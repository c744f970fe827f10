"""Whether an episode succeeded, as its environment reports it in the info of a step.

An episode succeeds if the info of its *final* step reports it, as in SB3's `EvalCallback` and the
papers of the Fetch tasks: the goal must be held, not only passed. Environments that end on success,
such as gym-aloha and gym-pusht, need no other rule. Meta-World publishes the share of episodes that
succeed at any step, which is never lower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

IS_SUCCESS = "is_success"  # in infos of this package, as SB3 reads it
# Gymnasium-Robotics' goal environments, panda-gym and gym-pusht; Adroit, PointMaze and Meta-World.
_KEYS = (IS_SUCCESS, "success")


def read_success(info: Mapping[str, Any]) -> bool | None:
    """Return the success in the info of a step; None if it is missing, or NaN."""
    for key in _KEYS:
        value = info.get(key)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if isinstance(value, bool | int | float | np.bool_ | np.number):
            return None if math.isnan(value) else bool(value)
    return None
