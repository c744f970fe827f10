"""The observation groups: `frame` (pixels), `proprio` (the robot's own joints) and `state`.

A vision environment returns all three as a dict. The student's space holds `frame` and `proprio`;
`state` is the teacher's observation.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from Enviroment.task import FRAME, PROPRIO, STATE, Task


def frame_channels(task: Task) -> int:
    """Return the channels of one time step, of all cameras (see `Enviroment.cameras`)."""
    return task.camera_set.channels


def newest_pictures(stacks: np.ndarray, task: Task) -> np.ndarray:
    """Return the newest frame for people: all cameras, colour and depth, side by side.

    Args:
        stacks: `(..., stack * channels, H, W)`, or without a stack `(..., channels, H, W)`.

    Returns:
        A new array `(..., H, views * W, 3)`; depth is gray, dark where it is near.
    """
    newest = stacks[..., -frame_channels(task) :, :, :]  # (..., channels, H, W)
    newest = np.moveaxis(newest, -3, -1)  # (..., H, W, channels)
    shape = (*newest.shape[:-1], 3)
    views = [np.broadcast_to(newest[..., v.channels], shape) for v in task.camera_set.views()]
    return np.concatenate(views, axis=-2)


def colour_channels(task: Task) -> np.ndarray:
    """Return which channels of an observation are colour, not depth, bool (stack * channels,)."""
    step = np.zeros(frame_channels(task), bool)
    for view in task.camera_set.views():
        step[view.channels] = not view.is_depth
    return np.tile(step, task.stack)


def state_space(state_dim: int) -> spaces.Box:
    """Return an unbounded float32 space of shape `(state_dim,)`."""
    return spaces.Box(-np.inf, np.inf, (state_dim,), np.float32)


def observation_space(task: Task, state_dim: int) -> spaces.Dict:
    """Return the groups of a vision environment.

    `frame` uint8 (stack * channels, H, W), newest last, with the order of channels of
    `Enviroment.cameras`; `proprio` float32 (P,), if the task has proprioception; `state` float32
    (state_dim,), in the units and order of Gymnasium's environment, unless the observation is the
    frame.
    """
    channels = task.stack * frame_channels(task)
    groups: dict[str, spaces.Space] = {
        FRAME: spaces.Box(0, 255, (channels, *task.frame_size), np.uint8)
    }
    if task.proprio:
        groups[PROPRIO] = spaces.Box(-np.inf, np.inf, task.proprio_indices.shape, np.float32)
    if task.has_state:
        groups[STATE] = state_space(state_dim)
    return spaces.Dict(groups)


class FrameStack:
    """The last frames of several environments. Every `frame_interval`-th of them is observed.

    At the start of an episode the whole history is its first frame, so a stack never holds a frame
    of another episode.
    """

    def __init__(self, task: Task, n_envs: int) -> None:
        self._task = task
        self._channels = frame_channels(task)
        depth = task.history + 1
        # A ring buffer: all environments write the same slot, so one index serves them all.
        self._ring = np.zeros((depth, n_envs, self._channels, *task.frame_size), np.uint8)
        self._newest = 0

    def push(self, frames: np.ndarray) -> None:
        """Add the frames of a step, uint8 (n_envs, channels, H, W)."""
        self._newest = (self._newest + 1) % len(self._ring)
        self._ring[self._newest] = frames

    def replace_newest(self, index: int, frame: np.ndarray) -> None:
        """Replace the last pushed frame of one environment, uint8 (channels, H, W)."""
        self._ring[self._newest, index] = frame

    def restart(self, index: int, frame: np.ndarray) -> None:
        """Begin an episode of one environment with its first frame, uint8 (channels, H, W)."""
        self._ring[:, index] = frame

    def stacks(self) -> np.ndarray:
        """Return all observed frames as a new array, uint8 (n_envs, stack * channels, H, W)."""
        task = self._task
        n_envs = self._ring.shape[1]
        stacks = np.empty((n_envs, task.stack * self._channels, *task.frame_size), np.uint8)
        for place, slot in enumerate(self._slots()):
            first = place * self._channels
            stacks[:, first : first + self._channels] = self._ring[slot]
        return stacks

    def stack(self, index: int) -> np.ndarray:
        """Return one environment's stack as a new array, uint8 (stack * channels, H, W)."""
        frames = self._ring[self._slots(), index]  # (stack, channels, H, W)
        return frames.reshape(-1, *self._task.frame_size)  # (stack * channels, H, W)

    def aligned(self) -> np.ndarray:
        """Rotate the ring so that the newest frames are last, and return it, not a copy.

        uint8 (history + 1, n_envs, channels, H, W)
        """
        self._ring[:] = np.roll(self._ring, -(self._newest + 1), axis=0)
        self._newest = len(self._ring) - 1
        return self._ring

    def _slots(self) -> list[int]:
        """Return the slots of the observed frames, newest last."""
        task = self._task
        ages = range(task.history, -1, -task.frame_interval)
        return [(self._newest - age) % len(self._ring) for age in ages]
