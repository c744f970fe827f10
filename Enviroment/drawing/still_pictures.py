"""Warn if resets change the state but not the pixels, so that a student cannot learn from them."""

from __future__ import annotations

import warnings

import numpy as np

from Enviroment.task import Task

EPISODES = 4  # equal first frames before the warning
_PLACES = 8  # indices of the state named in the warning


class StillPictures:
    """Compares the first frames of a task's first episodes, and warns once if all are equal."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._first: tuple[np.ndarray, np.ndarray] | None = None
        self._alike = 1
        self._spread = np.zeros(0)
        self._decided = False

    def begins(self, state: np.ndarray, frame: np.ndarray) -> None:
        """Handle the first state and frame of an episode."""
        if self._decided:
            return
        if self._first is None:
            self._first = state.copy(), frame.copy()
            self._spread = np.zeros_like(state)
            return
        first_state, first_frame = self._first
        if not np.array_equal(frame, first_frame):
            self._decided = True
            return
        difference = np.abs(state - first_state)
        if not difference.any():
            return
        self._alike += 1
        self._spread = np.maximum(self._spread, difference)
        if self._alike == EPISODES:
            self._decided = True
            self._warn()

    def _warn(self) -> None:
        order = np.argsort(-self._spread, kind="stable")
        places = [int(place) for place in order if self._spread[place] > 0]
        listed = ", ".join(map(str, places[:_PLACES]))
        more = f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
        height, width = self._task.frame_size
        warnings.warn(
            f"{self._task.env_id}: {EPISODES} episodes began with different states but the same "
            f"frame. No pixel of the {height}x{width} frames shows the changes of each reset at "
            f"the indices {listed}{more} of the state (largest: {self._spread.max():.3g}). If "
            "they hold a goal, let the environment draw it (as a site that it moves, or in a "
            "_render_callback), or move the camera. If they are only noise, this is harmless.",
            RuntimeWarning,
            stacklevel=2,
        )
