"""The initial states and first frames of episodes, made in advance.

Gymnasium itself draws each initial state on the processor with the episode's seed, so that an
episode begins exactly as in Gymnasium. The next seed of every world is known, so states are made in
batches before they are needed, and their first frames are drawn in a small simulation of their own:
drawing all worlds again because a few begin would double the cost of frames.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
import torch
from torch import Tensor

from Common.device import upload
from Enviroment.observations import frame_channels
from Enviroment.simulation.making import make_simulation
from Enviroment.task import Task
from Enviroment.worlds.model import WorldModel
from Enviroment.worlds.simulation import STATE_ARRAYS, Simulation, state_of

BATCH = 64  # worlds whose first frames are drawn together


@dataclass(frozen=True)
class Beginning:
    """The first states of k episodes, on the device."""

    states: dict[str, Tensor]  # by name of `STATE_ARRAYS`, (k, ...)
    frames: Tensor | None  # uint8 (k, channels, H, W)


class Beginnings:
    """Makes and keeps the beginning of the next episode of each world.

    Args:
        draws: whether first frames are drawn.
    """

    def __init__(
        self, task: Task, shared: WorldModel, n_worlds: int, device: torch.device, *, draws: bool
    ) -> None:
        self._env = make_simulation(task)
        self._model, self._data = shared.model, mujoco.MjData(shared.model)
        self._device, self._batch = device, min(BATCH, n_worlds)
        self._nursery = Simulation(
            shared, self._batch, device, task.frame_size if draws else None, rgb=not task.grayscale
        )
        self._seeds = np.full(n_worlds, -1)  # of the episodes that are ready
        self._due: list[int] = []  # worlds whose next episode is not ready
        self._states = {
            name: array.new_zeros((n_worlds, *array.shape[1:]))
            for name, array in self._nursery.arrays.items()
        }
        self._frames = None
        if draws:
            shape = (n_worlds, frame_channels(task), *task.frame_size)
            self._frames = torch.zeros(shape, dtype=torch.uint8, device=device)

    def take(self, worlds: Sequence[int], seeds: Sequence[int]) -> Beginning:
        """Return the beginnings of episodes with these seeds, of these worlds."""
        missing = [w for w, seed in zip(worlds, seeds, strict=True) if self._seeds[w] != seed]
        of_world = dict(zip(worlds, seeds, strict=True))
        self._make(missing, [of_world[world] for world in missing])
        self._due += [world for world in worlds if world not in self._due]
        index = torch.as_tensor(worlds, device=self._device)
        frames = None if self._frames is None else self._frames[index]
        return Beginning({name: values[index] for name, values in self._states.items()}, frames)

    def make_ahead(self, seeds: np.ndarray) -> None:
        """Make the next beginnings of worlds that have begun, once there are enough for a batch.

        Args:
            seeds: of the next episode of each world, int64 (n_worlds,).
        """
        if len(self._due) >= self._batch:
            self._make(self._due, seeds[self._due].tolist())
            self._due = []

    def close(self) -> None:
        """Close the environment that draws initial states."""
        self._env.close()

    def _make(self, worlds: Sequence[int], seeds: Sequence[int]) -> None:
        for first in range(0, len(worlds), self._batch):
            part = slice(first, first + self._batch)
            self._make_batch(worlds[part], seeds[part])

    def _make_batch(self, worlds: Sequence[int], seeds: Sequence[int]) -> None:
        each = [self._initial_state(seed) for seed in seeds]
        places = torch.arange(len(each), device=self._device)
        index = torch.as_tensor(worlds, device=self._device)
        states = {
            name: upload(np.stack([state[name] for state in each]), self._device)
            for name in STATE_ARRAYS
        }
        for name, values in states.items():
            self._states[name].index_copy_(0, index, values)
        if self._frames is not None:
            self._nursery.write(places, states)
            self._frames.index_copy_(0, index, self._nursery.draw()[: len(each)])
        self._seeds[list(worlds)] = seeds

    def _initial_state(self, seed: int) -> dict[str, np.ndarray]:
        """Return the initial state of the episode with this seed (see `state_of`)."""
        self._env.reset(seed=seed)
        reset, data = self._env.unwrapped.data, self._data
        mujoco.mj_resetData(self._model, data)
        data.qpos[:], data.qvel[:] = reset.qpos, reset.qvel
        mujoco.mj_forward(self._model, data)
        return state_of(self._model, data)
