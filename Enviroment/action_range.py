"""Range of continuous actions, and whether their bounds are real."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

_WIDEST = 1e6  # wider bounds, such as those of float32, count as none


def action_range(space: spaces.Box) -> np.ndarray:
    """Return high - low per action, in float64; infinite without real bounds."""
    width = space.high.astype(np.float64) - space.low.astype(np.float64)
    return np.where(width <= _WIDEST, width, np.inf)


def has_range(space: spaces.Box) -> bool:
    """Return whether every action has real bounds."""
    return bool(np.isfinite(action_range(space)).all())
