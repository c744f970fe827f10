"""Tells when a simulation has diverged, which MuJoCo itself hides.

When MuJoCo finds a position, velocity, acceleration or control that is not finite or too large,
it counts a warning, resets the simulation to the model's initial state and goes on: observations
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
    """Watches one environment, with about a microsecond a step.

    MuJoCo's counters are the proof. Time that runs backwards is none: an environment may reset its
    own simulation within a step. Environments that are not MuJoCo's are only watched for states
    that are not finite.
    """

    def __init__(self, env: gym.Env) -> None:
        self._env = env.unwrapped
        self._data = None
        self.begin()

    def begin(self) -> None:
        """An episode begins, in whatever simulation the environment has now."""
        data = getattr(self._env, "data", None)
        self._data = data if isinstance(data, mujoco.MjData) else None
        if self._data is not None:
            # A view of live counters. Not every environment's reset sets them to zero.
            self._counters = self._data.warning.number[min(_BAD) : max(_BAD) + 1]
            self._counters[:] = 0
            self._quiet = self._counters.tobytes()

    def diverged(self, state: np.ndarray) -> bool:
        """Whether the step that ended in `state` went wrong.

        Args:
            state: what the environment then showed, float64 (state_dim,).
        """
        # Comparing bytes takes a tenth of the time that NumPy's `any` does.
        if self._data is not None and self._counters.tobytes() != self._quiet:
            return True
        return not math.isfinite(np.vdot(state, state))
