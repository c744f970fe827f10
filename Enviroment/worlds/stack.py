"""The frame stacks of all worlds on their device, as `Enviroment.observations.FrameStack`."""

from __future__ import annotations

import torch
from torch import Tensor

from Enviroment.observations import frame_channels
from Enviroment.task import Task


class DeviceFrameStack:
    """The last frames of all worlds. Every `frame_interval`-th of them is observed."""

    def __init__(self, task: Task, n_worlds: int, device: torch.device) -> None:
        self._depth = task.history + 1  # frames that a stack reaches over
        # At least two, because `repeat_last` needs the frames before the newest ones.
        shape = (max(self._depth, 2), n_worlds, frame_channels(task), *task.frame_size)
        self._ring = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._newest = 0
        self._ages = range(task.history, -1, -task.frame_interval)

    def push(self, frames: Tensor) -> None:
        """Add the frames of a step, uint8 (n_worlds, channels, H, W)."""
        self._newest = (self._newest + 1) % len(self._ring)
        self._ring[self._newest] = frames

    def repeat_last(self, worlds: Tensor) -> None:
        """Replace the newest frames of some worlds, int64 (k,), by those before."""
        self._ring[self._newest, worlds] = self._ring[self._newest - 1, worlds]

    def restart(self, worlds: Tensor, frames: Tensor) -> None:
        """Begin episodes of some worlds (k,) with their first frames (k, channels, H, W)."""
        self._ring.index_copy_(1, worlds, frames.expand(len(self._ring), *frames.shape))

    def stacks(self, worlds: Tensor | None = None) -> Tensor:
        """Return the observed frames as a new tensor, uint8 (n_worlds, stack * channels, H, W).

        Args:
            worlds: indices of some worlds, int64 (k,); None: all.
        """
        slots = [(self._newest - age) % len(self._ring) for age in self._ages]
        seen = [self._ring[s] if worlds is None else self._ring[s, worlds] for s in slots]
        return torch.cat(seen, 1)

    def aligned(self) -> Tensor:
        """Return all frames, newest last, uint8 (history + 1, n_worlds, channels, H, W)."""
        return self._ring.roll(-(self._newest + 1), 0)[-self._depth :]

    def restore(self, frames: Tensor) -> None:
        """Restore the frames of `aligned`."""
        self._ring[-self._depth :] = frames
        self._newest = len(self._ring) - 1
