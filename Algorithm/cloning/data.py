"""What supervised students learn from: labelled states by index, wherever they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from Common.device import upload
from Common.errors import UserError
from Enviroment.dataset.format import DISTRIBUTION
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import FRAME
from Models.distributions import FAMILIES, Distribution


class Samples(Protocol):
    """Labelled states, each with a fixed index from 0 on."""

    @property
    def family(self) -> str:
        """Of the teacher's distributions, a key of `FAMILIES`."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Samples by their indices `(B,)`, in that order; called from another thread.

        Args:
            columns: which arrays: observation groups, `frame` stacked, and the parameters of the
                teacher's distribution, as `distribution.mean` and so on.

        Returns:
            Each `(B, ...)`, in memory of its own.
        """
        ...


class CloningData(Samples, Protocol):
    """Samples in whole episodes."""

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices to train and to validate on. Whole episodes: the steps of one are too alike."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells it from other data, as JSON: a training goes on with the same data only."""
        ...


class TeacherSamples:
    """A teacher dataset as something to learn from.

    Args:
        blind: frames are zero: what `--blind` students, the baseline of skill, learn from.

    Raises:
        UserError: the dataset does not say what its teacher's distributions are.
    """

    def __init__(self, dataset: TeacherDataset, *, blind: bool = False) -> None:
        self.family = dataset.manifest.recipe.teacher.get("family", "")
        if self.family not in FAMILIES:
            raise UserError(
                f"The dataset {dataset.folder} does not name a family of distributions "
                f"({', '.join(FAMILIES)}), so there is nothing to clone."
            )
        self._dataset, self._blind = dataset, blind

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """As `Samples.read`."""
        arrays = self._dataset.read(indices, columns)
        if self._blind and FRAME in arrays:
            arrays[FRAME][:] = 0
        return arrays

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """As `CloningData.split`."""
        return self._dataset.split(validation_fraction, seed)

    def identity(self) -> dict[str, Any]:
        """As `CloningData.identity`."""
        manifest = self._dataset.manifest
        digests = [manifest.recipe.digest(), *(shard.sha256 for shard in manifest.shards)]
        sha256 = hashlib.sha256("".join(digests).encode()).hexdigest()
        return {"states": len(self), "sha256": sha256, "blind": self._blind}


class Subset:
    """Some samples of `data`, numbered anew.

    Args:
        rows: their indices in `data`, `(N,)`.
    """

    def __init__(self, data: Samples, rows: np.ndarray) -> None:
        self.family = data.family
        self._data, self._rows = data, rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """As `Samples.read`."""
        return self._data.read(self._rows[indices], columns)


def split_episodes(data: CloningData, held_out: float, seed: int) -> tuple[Subset, Subset]:
    """Samples for training and for validation, of different episodes.

    Args:
        held_out: share of the episodes.
    """
    training, validation = data.split(held_out, seed)
    return Subset(data, training), Subset(data, validation)


def distribution_columns(family: str) -> dict[str, str]:
    """Return the column of each parameter of a family's distributions."""
    return {field.name: DISTRIBUTION + field.name for field in fields(FAMILIES[family])}


@dataclass(frozen=True)
class CloningBatch:
    """Samples as tensors; every one starts with the batch dimension."""

    obs: dict[str, Tensor]
    teacher: Distribution


class BatchReader:
    """Samples as the tensors that a student needs, where it needs them.

    Args:
        groups: the observation groups that it needs.
    """

    def __init__(self, data: Samples, groups: tuple[str, ...], device: torch.device) -> None:
        self._data, self._groups, self._device = data, groups, device
        self._family, self._params = FAMILIES[data.family], distribution_columns(data.family)

    def __call__(self, indices: np.ndarray) -> CloningBatch:
        arrays = self._data.read(indices, (*self._groups, *self._params.values()))
        params = {name: upload(arrays[key], self._device) for name, key in self._params.items()}
        obs = {group: upload(arrays[group], self._device) for group in self._groups}
        if FRAME in obs:
            # The encoder's own order, brought about here, beside training.
            obs[FRAME] = obs[FRAME].contiguous(memory_format=torch.channels_last)
        return CloningBatch(obs, self._family(**params))


class Prefetcher:
    """Reads the next batch in one thread while the processor trains on this one.

    What to read is decided by the caller, so the order never depends on threads.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._next: Future[CloningBatch] | None = None

    def start(self, indices: np.ndarray) -> None:
        """Begin to read a batch."""
        self._next = self._pool.submit(self._reader, indices)

    def wait(self) -> CloningBatch:
        """Return the batch that was begun; an error while it was read is raised here."""
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
