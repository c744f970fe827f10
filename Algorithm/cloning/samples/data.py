"""The data of supervised learning: labelled states by index, from any source."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from Algorithm.cloning.samples.recorded_labels import RecordedLabels, distribution_columns
from Common.device import upload
from Common.errors import UserError
from Enviroment.dataset.format import ACTION
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import FRAME
from Enviroment.task import Task
from Models.distributions import FAMILIES, Distribution


class Samples(Protocol):
    """Labelled states, each with a fixed index from 0 on."""

    @property
    def family(self) -> str:
        """Family of the teacher's distributions, a key of `FAMILIES`."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Return samples by their indices `(B,)`, in that order. Called from another thread.

        Args:
            columns: names of arrays: observation groups, with `frame` stacked, and the parameters
                of the teacher's distribution, such as `distribution.mean`.

        Returns:
            New arrays `(B, ...)`.
        """
        ...


class CloningData(Samples, Protocol):
    """Samples in complete episodes."""

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices for training and validation, split by whole episodes."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return JSON that identifies the data: a training resumes with the same data only."""
        ...


@runtime_checkable
class InEpisodes(Protocol):
    """Samples with the number of their episode, as recurrent students need them."""

    def episode_numbers(self) -> np.ndarray:
        """Return the episode of each sample, `(N,)` int.

        Samples of one episode have indices in the order of time.
        """
        ...


def in_episodes(data: object) -> InEpisodes:
    """Return the data. Raise UserError if the episodes of the samples are unknown."""
    if not isinstance(data, InEpisodes):
        raise UserError(
            f"A recurrent student needs data in episodes, but {type(data).__name__} has no "
            "`episode_numbers`."
        )
    return data


class TeacherSamples:
    """A teacher dataset as `CloningData`.

    Args:
        blind: return zero frames, for `--blind` students, the baseline of skill.
        recorded: labels of a dataset that was imported from recordings, which have actions only.

    Raises:
        UserError: the dataset does not name the family of its teacher's distributions.
    """

    def __init__(
        self,
        dataset: TeacherDataset,
        *,
        blind: bool = False,
        recorded: RecordedLabels | None = None,
    ) -> None:
        self.family = dataset.manifest.recipe.teacher.get("family", "")
        self._recorded = None if self.family else recorded
        if self._recorded is not None:
            self.family = self._recorded.family
        if self.family not in FAMILIES:
            raise UserError(
                f"The dataset {dataset.folder} does not name a family of distributions "
                f"({', '.join(FAMILIES)}), so there is nothing to clone."
            )
        self._dataset, self.blind = dataset, blind

    @property
    def task(self) -> Task:
        """The task of the dataset, which a student's bundle names."""
        return self._dataset.task

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Return samples (see `Samples.read`)."""
        labels: dict[str, np.ndarray] = {}
        if self._recorded is not None:
            labels = self._recorded.of(self._dataset.read(indices, (ACTION,))[ACTION])
            columns = [name for name in columns if name not in labels]
        arrays = {**self._dataset.read(indices, columns), **labels}
        if self.blind and FRAME in arrays:
            arrays[FRAME][:] = 0
        return arrays

    def episode_numbers(self) -> np.ndarray:
        """Return the episode of each sample, `(N,)`."""
        return np.repeat(np.arange(self._dataset.n_episodes), self._dataset.lengths)

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices for training and validation (see `CloningData.split`)."""
        return self._dataset.split(validation_fraction, seed)

    def identity(self) -> dict[str, Any]:
        """Return JSON that identifies the data (see `CloningData.identity`)."""
        manifest = self._dataset.manifest
        digests = [manifest.recipe.digest(), *(shard.sha256 for shard in manifest.shards)]
        sha256 = hashlib.sha256("".join(digests).encode()).hexdigest()
        return {"states": len(self), "sha256": sha256, "blind": self.blind}


class Subset:
    """A subset of samples, numbered from 0.

    Args:
        rows: indices in `data`, `(N,)`, ascending.
    """

    def __init__(self, data: Samples, rows: np.ndarray) -> None:
        self.family = data.family
        self._data, self._rows = data, rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Return samples (see `Samples.read`)."""
        return self._data.read(self._rows[indices], columns)

    def episode_numbers(self) -> np.ndarray:
        """Return the episode of each sample, `(N,)`, if the data have it."""
        return in_episodes(self._data).episode_numbers()[self._rows]


def split_episodes(data: CloningData, held_out: float, seed: int) -> tuple[Subset, Subset]:
    """Split samples into training and validation sets by episodes.

    Args:
        held_out: share of the episodes for validation.
    """
    training, validation = data.split(held_out, seed)
    return Subset(data, training), Subset(data, validation)


@dataclass(frozen=True)
class CloningBatch:
    """Samples as tensors. The first dimension of each is the batch."""

    obs: dict[str, Tensor]
    teacher: Distribution


class BatchReader:
    """Reads samples as tensors on the student's device.

    Args:
        groups: the student's observation groups.
    """

    def __init__(self, data: Samples, groups: tuple[str, ...], device: torch.device) -> None:
        self._data, self._groups, self._device = data, groups, device
        self._family, self._params = FAMILIES[data.family], distribution_columns(data.family)

    def __call__(self, indices: np.ndarray) -> CloningBatch:
        arrays = self._data.read(indices, (*self._groups, *self._params.values()))
        params = {name: upload(arrays[key], self._device) for name, key in self._params.items()}
        obs = {group: upload(arrays[group], self._device) for group in self._groups}
        if FRAME in obs:
            # The encoder's memory format, converted here in parallel with training.
            obs[FRAME] = obs[FRAME].contiguous(memory_format=torch.channels_last)
        return CloningBatch(obs, self._family(**params))


class Prefetcher:
    """Reads the next batch in a thread while training on the current one.

    The caller decides what to read, so the order never depends on threads.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._next: Future[CloningBatch] | None = None

    def start(self, indices: np.ndarray) -> None:
        """Start to read a batch."""
        self._next = self._pool.submit(self._reader, indices)

    def wait(self) -> CloningBatch:
        """Return the started batch, or raise the error of reading it."""
        assert self._next is not None
        return self._next.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
