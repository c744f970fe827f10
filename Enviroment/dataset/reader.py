"""Read teacher datasets through memory maps.

A dataset holds single frames. The student's stacks are built on reading, with the stacking of the
task, and never reach back beyond the start of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from Common.errors import UserError
from Common.places import RESULTS
from Enviroment.custom import with_package
from Enviroment.dataset.count import parse_count
from Enviroment.dataset.format import (
    ACTION,
    BEHAVIOUR_ACTION,
    MANIFEST,
    REWARD,
    SEED,
    Manifest,
    check_task,
    described_task,
    shard_name,
)
from Enviroment.dataset.shards import map_shard, shard_problem
from Enviroment.dataset.verify import repair_hint, surplus_shards, unfinished
from Enviroment.observations import FRAME, PROPRIO, STATE
from Enviroment.tasks import Task, script_of

EPISODE, STEP = "episode", "step"  # derived columns, as are `proprio` and `seed`
_OPEN_SHARDS = 256  # memory maps at once; each keeps a file open, and processes may open 1024


class TeacherDataset:
    """The steps of complete episodes, numbered from 0 without gaps.

    Data is loaded on reading only, so memory does not grow with the dataset.

    Args:
        folder: folder of the dataset.
        manifest: its manifest.
        task: defines the stacking of frames and the ranges of proprioception.
    """

    def __init__(self, folder: Path | str, manifest: Manifest, task: Task) -> None:
        folder = Path(folder)
        self.folder, self.manifest, self.task = folder, manifest, task
        lengths = [length for shard in manifest.shards for length in shard.lengths]
        self.lengths = np.array(lengths, np.int64)  # (episodes,), env steps
        self.starts = np.concatenate([[0], self.lengths.cumsum()])  # (episodes + 1,), step indices
        first = [shard.first_episode for shard in manifest.shards]
        self._shard_episodes = np.array([*first, len(lengths)])
        self._shard_starts = self.starts[self._shard_episodes]  # (shards + 1,)
        self._ages = np.arange(task.history, -1, -task.frame_interval)  # of a stack, env steps
        self._arrays: Callable[[int], dict[str, np.ndarray]]
        # Not a method: a reference cycle would keep the maps alive longer than this object.
        self._arrays = lru_cache(_OPEN_SHARDS)(partial(_map, folder, manifest))

    @classmethod
    def open(
        cls,
        folder: Path | str,
        task: Task | None = None,
        env_id: str | None = None,
        wrapper: str | None = None,
    ) -> Self:
        """Open a complete dataset. Check the manifest and the size and header of every shard.

        To detect changed bits in the shards, run `python -m Enviroment.dataset verify`.

        Args:
            task: the expected task; default: that of the dataset.
            env_id, wrapper: those of the task if given on the command line: see `with_package`.

        Raises:
            UserError: the dataset cannot be used. The message names the file and the remedy.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        if task is None:
            described = described_task(folder / MANIFEST, manifest.recipe.task)
            task = with_package(described, env_id, wrapper)
        check_task(folder, manifest, task)
        if missing := unfinished(folder, manifest):
            raise UserError(missing)
        for index in range(len(manifest.shards)):
            problem = shard_problem(folder / shard_name(index), manifest.layout(index))
            if problem is not None:
                raise UserError(f"{problem} {repair_hint(folder, manifest)}")
        for path in surplus_shards(folder, manifest):
            raise UserError(f"{path} is not in the manifest. Delete it, or move it away.")
        return cls(folder, manifest, task)

    def __len__(self) -> int:
        """Return the number of env steps."""
        return int(self.starts[-1])

    @property
    def n_episodes(self) -> int:
        return len(self.lengths)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that `read` returns."""
        proprio = (PROPRIO,) if STATE in self.manifest.step_columns else ()
        derived = (*proprio, BEHAVIOUR_ACTION, EPISODE, STEP, SEED)
        return tuple(dict.fromkeys([*self.manifest.step_columns, *derived]))

    def read(
        self, indices: ArrayLike, columns: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Read steps by index, in the given order. Indices may repeat.

        Args:
            indices: integers in [0, len), `(B,)`.
            columns: names of columns; default: all. Fewer columns are faster.

        Returns: new arrays:
            frame: uint8 (B, stack * channels, H, W), newest last, as in the environment.
            state, proprio: float32 (B, state_dim), (B, P); missing for games.
            action: the teacher's, float32 (B, action_dim), or int64 (B,) indices;
                behaviour_action: the executed one.
            distribution.<parameter>: the teacher's, float32 (B, ...).
            value, reward: float32 (B,).
            terminated, truncated: bool (B,); whether and why the episode ended with this step.
            episode, step, seed: int64 (B,); step counts from the start of the episode.

        Raises:
            IndexError: an index is out of range.
            KeyError: a column does not exist.
        """
        indices = self._checked(indices)
        columns = self.columns if columns is None else columns
        for name in columns:
            if name not in self.columns:
                raise KeyError(f"{self.folder} has no {name!r}, only {', '.join(self.columns)}.")
        episodes = np.searchsorted(self.starts, indices, side="right") - 1  # (B,)
        batch = {name: self._empty(name, len(indices)) for name in self._stored(columns)}
        for shard, rows in self._by_shard(indices):
            local = indices[rows] - self._shard_starts[shard]  # (n,)
            arrays = self._arrays(shard)
            for name, out in batch.items():
                if name == FRAME:
                    starts = self.starts[episodes[rows]] - self._shard_starts[shard]
                    stacks = np.maximum(local[:, None] - self._ages, starts[:, None])  # (n, stack)
                    out[rows] = arrays[FRAME][stacks]  # (n, stack, channels, H, W)
                elif name == SEED:
                    out[rows] = arrays[SEED][episodes[rows] - self._shard_episodes[shard]]
                else:
                    out[rows] = arrays[name][local]
        return self._derive(columns, batch, indices, episodes)

    def _derive(
        self,
        columns: Collection[str],
        batch: dict[str, np.ndarray],
        indices: np.ndarray,
        episodes: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Return the requested columns, computed from the stored ones."""
        if FRAME in columns:
            frames = batch[FRAME]
            channels = frames.shape[1] * frames.shape[2]
            # (B, stack, channels, H, W) -> (B, stack * channels, H, W)
            batch[FRAME] = frames.reshape(len(frames), channels, *frames.shape[3:])
        if PROPRIO in columns:
            batch[PROPRIO] = batch[STATE][:, self.task.proprio_indices]
        if BEHAVIOUR_ACTION in columns and BEHAVIOUR_ACTION not in batch:
            batch[BEHAVIOUR_ACTION] = batch[ACTION].copy()
        batch[EPISODE] = episodes
        batch[STEP] = indices - self.starts[episodes]
        return {name: batch[name] for name in columns}

    def _stored(self, columns: Collection[str]) -> set[str]:
        """Return the stored columns that the requested ones are computed from."""
        sources = {PROPRIO: STATE, EPISODE: None, STEP: None}
        if BEHAVIOUR_ACTION not in self.manifest.step_columns:
            sources[BEHAVIOUR_ACTION] = ACTION
        names = {sources.get(name, name) for name in columns}
        return {name for name in names if name is not None}

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of training and validation steps, both ascending.

        Draw complete episodes, because steps of one episode are too similar to be in both sets.

        Args:
            validation_fraction: share of the episodes; at least one episode if above 0.

        Raises:
            UserError: the fraction is not in [0, 1), or leaves nothing to train on.
        """
        if not 0 <= validation_fraction < 1:
            raise UserError(f"A validation fraction of {validation_fraction} is not in [0, 1).")
        held_out = np.zeros(self.n_episodes, bool)
        if validation_fraction > 0:
            count = max(1, round(validation_fraction * self.n_episodes))
            held_out[np.random.default_rng(seed).permutation(self.n_episodes)[:count]] = True
        if held_out.all():
            raise UserError(
                f"No episode of {self.n_episodes} in {self.folder} is left for training. Collect "
                "more data, or hold out fewer."
            )
        held_out_steps = np.repeat(held_out, self.lengths)  # (steps,)
        return np.flatnonzero(~held_out_steps), np.flatnonzero(held_out_steps)

    def returns(self) -> np.ndarray:
        """Return the undiscounted return of each episode: float64 (episodes,)."""
        returns = np.empty(self.n_episodes)
        for shard, arrays in self.shards():
            episodes = slice(*self._shard_episodes[shard : shard + 2])
            starts = self.starts[episodes] - self._shard_starts[shard]
            returns[episodes] = np.add.reduceat(arrays[REWARD], starts, dtype=np.float64)
        return returns

    def shards(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the number of each shard and its stored arrays, read-only and memory-mapped."""
        for shard in range(len(self.manifest.shards)):
            yield shard, self._arrays(shard)

    def _by_shard(self, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each shard that holds some of the steps, and the positions in `indices`."""
        shards = np.searchsorted(self._shard_starts, indices, side="right") - 1
        order = np.argsort(shards, kind="stable")
        present, first = np.unique(shards[order], return_index=True)
        # Without indices, `np.split` returns one empty part but there is no shard.
        yield from zip(present.tolist(), np.split(order, first[1:]), strict=False)

    def _empty(self, name: str, n: int) -> np.ndarray:
        if name == SEED:
            return np.empty(n, np.int64)
        column = self.manifest.step_columns[name]
        stack = (self.task.stack,) if name == FRAME else ()
        return np.empty((n, *stack, *column.shape), column.dtype)

    def _checked(self, indices: ArrayLike) -> np.ndarray:
        array = np.asarray(indices)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise IndexError(f"Indices must be integers (B,), not {array.dtype} {array.shape}")
        outside = array[(array < 0) | (array >= len(self))]
        if len(outside):
            raise IndexError(f"Step {outside[0]} is not in [0, {len(self)}).")
        return array.astype(np.int64)


def _map(folder: Path, manifest: Manifest, shard: int) -> dict[str, np.ndarray]:
    return map_shard(folder / shard_name(shard), manifest.layout(shard))


def dataset_folder(task: Task, num_data: int) -> Path:
    """Return the default folder of a dataset of `num_data` steps."""
    return RESULTS / task.name / "Dataset" / str(num_data)


def resolve_dataset(task: Task, dataset: str | int | Path) -> Path:
    """Return the folder that `--dataset` names.

    Args:
        dataset: a number of env steps (`5k`, `100000`), for the default folder; or a path.

    Raises:
        UserError: there is no dataset. The message has the command that collects it.
    """
    num_data = parse_count(str(dataset))
    folder = Path(dataset) if num_data is None else dataset_folder(task, num_data)  # type: ignore[arg-type]
    if (folder / MANIFEST).is_file():
        return folder
    if num_data is not None:
        command, output = f"--num_data {num_data}", ""
    else:
        command, output = "--num_data N", f" --output {folder}"
    raise UserError(
        f"`dataset` {dataset}: there is no dataset at {folder}. Collect it with `python "
        f"Distillation/{script_of(task)} --C_data {command}{output}` and this run's flags of the "
        "environment, the frames and the teacher."
    )
