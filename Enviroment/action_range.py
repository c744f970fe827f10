"""How far apart the bounds of continuous actions are, and whether they bound anything."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

_WIDEST = 1e6  # bounds farther apart, such as those of float32, stand for none


def action_range(space: spaces.Box) -> np.ndarray:
    """Return high - low of each action, in float64; infinite where there are no real bounds."""
    width = space.high.astype(np.float64) - space.low.astype(np.float64)
    return np.where(width <= _WIDEST, width, np.inf)


def has_range(space: spaces.Box) -> bool:
    """Return whether each action lies within real bounds."""
    return bool(np.isfinite(action_range(space)).all())
