"""The observation groups: `frame` (pixels), `proprio` (the robot's own joints) and `state`.

A vision environment yields all three as a dict. A student's own space holds `frame` and `proprio`;
`state` is what the teacher sees.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from Enviroment.task import Task

FRAME = "frame"
PROPRIO = "proprio"
STATE = "state"


def frame_channels(task: Task) -> int:
    """Channels of one frame: 1 (gray) or 3 (red, green, blue)."""
    return 1 if task.grayscale else 3


def state_space(state_dim: int) -> spaces.Box:
    """Unbounded float32 `(state_dim,)`."""
    return spaces.Box(-np.inf, np.inf, (state_dim,), np.float32)


def observation_space(task: Task, state_dim: int) -> spaces.Dict:
    """The groups of a vision environment.

    `frame` uint8 (stack * channels, H, W), newest last; `proprio` float32 (P,), unless the task
    has none; `state` float32 (state_dim,), in the units and the order of Gymnasium's environment.
    """
    channels = task.stack * frame_channels(task)
    groups: dict[str, spaces.Space] = {
        FRAME: spaces.Box(0, 255, (channels, *task.frame_size), np.uint8)
    }
    if task.proprio:
        groups[PROPRIO] = spaces.Box(-np.inf, np.inf, task.proprio_indices.shape, np.float32)
    groups[STATE] = state_space(state_dim)
    return spaces.Dict(groups)


class FrameStack:
    """The last frames of several environments, of which every `frame_interval`-th is observed.

    At an episode's start the whole history is the first frame, so a stack never holds a frame of
    another episode.
    """

    def __init__(self, task: Task, n_envs: int) -> None:
        self._task = task
        self._channels = frame_channels(task)
        depth = task.history + 1
        # A ring: all environments write the same slot, so only one of them moves a step.
        self._ring = np.zeros((depth, n_envs, self._channels, *task.frame_size), np.uint8)
        self._newest = 0

    def push(self, frames: np.ndarray) -> None:
        """Take the frames of one more step, uint8 (n_envs, channels, H, W)."""
        self._newest = (self._newest + 1) % len(self._ring)
        self._ring[self._newest] = frames

    def replace_newest(self, index: int, frame: np.ndarray) -> None:
        """Correct what `push` took for one environment, uint8 (channels, H, W)."""
        self._ring[self._newest, index] = frame

    def restart(self, index: int, frame: np.ndarray) -> None:
        """Begin an episode of one environment with its first frame, uint8 (channels, H, W)."""
        self._ring[:, index] = frame

    def stacks(self) -> np.ndarray:
        """What all environments observe: a new array, uint8 (n_envs, stack * channels, H, W)."""
        task = self._task
        n_envs = self._ring.shape[1]
        stacks = np.empty((n_envs, task.stack * self._channels, *task.frame_size), np.uint8)
        for place, slot in enumerate(self._slots()):
            first = place * self._channels
            stacks[:, first : first + self._channels] = self._ring[slot]
        return stacks

    def stack(self, index: int) -> np.ndarray:
        """What one environment observes: a new array, uint8 (stack * channels, H, W)."""
        frames = self._ring[self._slots(), index]  # (stack, channels, H, W)
        return frames.reshape(-1, *self._task.frame_size)  # (stack * channels, H, W)

    def aligned(self) -> np.ndarray:
        """The ring itself, turned so that the newest frames are its last, to save or to fill.

        uint8 (history + 1, n_envs, channels, H, W)
        """
        self._ring[:] = np.roll(self._ring, -(self._newest + 1), axis=0)
        self._newest = len(self._ring) - 1
        return self._ring

    def _slots(self) -> list[int]:
        """Slots of the observed frames, newest last."""
        task = self._task
        ages = range(task.history, -1, -task.frame_interval)
        return [(self._newest - age) % len(self._ring) for age in ages]
