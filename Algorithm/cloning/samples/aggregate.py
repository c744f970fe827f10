"""The aggregated data of DAgger: a dataset, followed by all states labelled since."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from Algorithm.cloning.samples.data import Samples, in_episodes
from Algorithm.cloning.samples.recorded_labels import distribution_columns
from Algorithm.on_policy.rollout import FrameHistory
from Enviroment.observations import FRAME
from Enviroment.tasks import Task
from Models.distributions import Distribution


class Aggregate:
    """Labelled states in memory, which only grow, with each frame of a task stored once.

    Indices 0 to `len(base) - 1` are those of the base. Then follow steps of all environments.

    Args:
        base: initial samples; None for none.
        n_steps: maximum number of added env steps per environment.
        task: defines the stacking of frames; None: frames are not stored.
        keeps_stacks: store whole stacks instead, for environments without a task.
    """

    def __init__(
        self,
        base: Samples | None,
        family: str,
        n_steps: int,
        n_envs: int,
        task: Task | None,
        *,
        keeps_stacks: bool = False,
    ) -> None:
        self.family = family
        self._base, self._n_base = base, 0 if base is None else len(base)
        self._n_steps, self._n_envs, self._task = n_steps, n_envs, task
        self._columns: dict[str, np.ndarray] = {}  # (n_steps, n_envs, ...)
        self._left_out = () if keeps_stacks else (FRAME,)  # of the columns
        self._starts = np.zeros((n_steps, n_envs), bool)
        self._frames: FrameHistory | None = None
        if task is not None:
            self._frames = FrameHistory(n_steps, n_envs, task, torch.device("cpu"))
        self._added = 0  # steps

    def __len__(self) -> int:
        return self._n_base + self._added * self._n_envs

    def add(
        self, obs: Mapping[str, np.ndarray], episode_starts: np.ndarray, labels: Distribution
    ) -> None:
        """Add one step of every environment: observations and the teacher's distributions.

        Args:
            obs: groups `(n_envs, ...)`.
            episode_starts: `(n_envs,)`, True for the first state of an episode.
        """
        if self._added == self._n_steps:
            raise ValueError(f"The aggregate is full: it holds {self._n_steps} steps.")
        columns = {group: array for group, array in obs.items() if group not in self._left_out}
        params, names = labels.params(), distribution_columns(self.family)
        columns |= {names[name]: value.cpu().numpy() for name, value in params.items()}
        for name, array in columns.items():
            self._column(name, array)[self._added] = array
        if self._frames is not None:
            self._frames.add(self._added, obs[FRAME], episode_starts)
        self._starts[self._added] = episode_starts
        self._added += 1

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Return samples (see `Samples.read`)."""
        is_old = indices < self._n_base
        if self._base is not None and is_old.all():
            return self._base.read(indices, columns)
        added = self._read_added(indices[~is_old] - self._n_base, columns)
        if self._base is None or not is_old.any():
            return added
        old, arrays = self._base.read(indices[is_old], columns), {}
        for name, part in added.items():
            arrays[name] = np.empty((len(indices), *part.shape[1:]), part.dtype)
            arrays[name][is_old], arrays[name][~is_old] = old[name], part
        return arrays

    def episode_numbers(self) -> np.ndarray:
        """Return the episode of each sample, `(N,)`: those of the base, then those added."""
        parts, first = [], 0
        if self._base is not None:
            parts = [in_episodes(self._base).episode_numbers()]
            first = int(parts[0].max(initial=-1)) + 1
        begun = np.cumsum(self._starts[: self._added], axis=0)  # (n_steps, n_envs), from 1
        before = np.cumsum(np.append(0, begun[-1:].reshape(-1)))[:-1]  # episodes of earlier envs
        parts.append((first + before + begun - 1).reshape(-1))
        return np.concatenate(parts)

    def capture(self) -> dict[str, Any]:
        """Return the added samples for `Common.runs.packing`, without copies.

        Every checkpoint holds all of them, although finished rounds do not change. A shared file
        would be less to write, but its damage would affect all checkpoints; this way each can be
        verified, copied and resumed by itself. The size is a frame and a few hundred bytes per env
        step: about 20 MB after Pusher's two rounds of 3,600.
        """
        added = self._added
        state: dict[str, Any] = {
            "columns": {name: array[:added] for name, array in self._columns.items()},
            "starts": self._starts[:added],
        }
        if self._frames is not None:
            history = self._frames.history
            state["frames"] = self._frames.frames[history : history + added]
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `capture`, after the same base."""
        starts = state["starts"]
        self._added = len(starts)
        self._starts[: self._added] = starts
        for name, array in state["columns"].items():
            self._column(name, array[0])[: self._added] = array
        if self._frames is not None:
            for step, frames in enumerate(state["frames"].numpy()):
                self._frames.add(step, frames, starts[step])

    def _column(self, name: str, step: np.ndarray) -> np.ndarray:
        if name not in self._columns:
            self._columns[name] = np.zeros((self._n_steps, *step.shape), step.dtype)
        return self._columns[name]

    def _read_added(self, rows: np.ndarray, columns: Collection[str]) -> dict[str, np.ndarray]:
        steps, envs = np.divmod(rows, self._n_envs)
        kept = [name for name in columns if name not in self._left_out]
        arrays = {name: self._columns[name][steps, envs] for name in kept}
        if FRAME in columns and self._frames is not None:
            arrays[FRAME] = self._frames.read(steps, envs).numpy()
        return arrays
