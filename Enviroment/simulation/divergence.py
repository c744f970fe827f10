"""Detect diverged simulations, which MuJoCo itself hides.

When MuJoCo finds a position, velocity, acceleration or control that is not finite or too large,
it counts a warning, resets the simulation to the model's initial state and continues: observations
and rewards stay finite, but belong to no episode.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math

import gymnasium as gym
import mujoco
import numpy as np

_WARNINGS = mujoco.mjtWarning
_BAD = [
    int(kind)
    for kind in (
        _WARNINGS.mjWARN_BADQPOS,
        _WARNINGS.mjWARN_BADQVEL,
        _WARNINGS.mjWARN_BADQACC,
        _WARNINGS.mjWARN_BADCTRL,
    )
]


class DivergenceWatch:
    """Watches one environment, at about a microsecond per step.

    Divergence is detected by MuJoCo's warning counters. Time that runs backwards is no evidence:
    an environment may reset its own simulation within a step. Environments without MuJoCo are only
    checked for states with NaN or infinity.
    """

    def __init__(self, env: gym.Env) -> None:
        self._env = env.unwrapped
        self._data = None
        self.begin()

    def begin(self) -> None:
        """Handle the start of an episode, possibly in a new simulation."""
        data = getattr(self._env, "data", None)
        self._data = data if isinstance(data, mujoco.MjData) else None
        if self._data is not None:
            # A view of the live counters. Not every environment's reset sets them to zero.
            self._counters = self._data.warning.number[min(_BAD) : max(_BAD) + 1]
            self._counters[:] = 0
            self._quiet = self._counters.tobytes()

    def diverged(self, state: np.ndarray) -> bool:
        """Return whether the simulation diverged in the step that ended in `state`.

        Args:
            state: observation after the step, (state_dim,), of any type of numbers.
        """
        # A comparison of bytes takes a tenth of the time of NumPy's `any`.
        if self._data is not None and self._counters.tobytes() != self._quiet:
            return True
        # The sum is fast, but may be too large for the type of the state: float16 ends at 65,504.
        return not (math.isfinite(np.vdot(state, state)) or bool(np.isfinite(state).all()))
