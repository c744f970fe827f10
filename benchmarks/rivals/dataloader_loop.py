"""Rival of `benchmarks/cloning.py`: behavioural cloning as a plain PyTorch loop.

It uses a `Dataset` of single samples, a `DataLoader` whose workers collate batches, torch's AdamW
and cosine schedule, and `loss.item()` in every step. The memory-mapped arrays, weights, batches and
loss are the same as ours; the encoder is implemented as in the paper, with contiguous tensors.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from Algorithm.cloning.config import CloningConfig
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import FRAME, PROPRIO, STATE
from Models.distributions import FAMILIES
from Models.networks.impala import ImpalaEncoder
from Models.student.policy import StudentPolicy

_MEAN, _LOG_STD = "distribution.mean", "distribution.log_std"


class StackedFrames(Dataset):
    """Single samples of a teacher dataset, stacked on access."""

    def __init__(self, dataset: TeacherDataset) -> None:
        self._task, self._starts = dataset.task, dataset.starts.tolist()
        self._shards = [arrays for _, arrays in dataset.shards()]
        sizes = [len(arrays[STATE]) for arrays in self._shards]
        self._firsts = [0, *np.cumsum(sizes)[:-1].tolist()]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        shard = bisect.bisect_right(self._firsts, index) - 1
        arrays, first = self._shards[shard], self._firsts[shard]
        start = self._starts[bisect.bisect_right(self._starts, index) - 1]
        ages = range(self._task.history, -1, -self._task.frame_interval)
        rows = [max(index - age, start) - first for age in ages]
        state = arrays[STATE][index - first]
        return {
            FRAME: np.concatenate([arrays[FRAME][row] for row in rows]),  # (stack, H, W)
            PROPRIO: state[self._task.proprio_indices],
            _MEAN: np.array(arrays[_MEAN][index - first]),
            _LOG_STD: np.array(arrays[_LOG_STD][index - first]),
        }


class PlainEncoder(nn.Module):
    """The student's encoder and weights, without its memory layout."""

    def __init__(self, encoder: ImpalaEncoder) -> None:
        super().__init__()
        self.sequences = copy.deepcopy(encoder.sequences)
        self.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        self.pooling, self.precision = encoder.pooling, encoder.precision

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 `(B, channels, H, W)` -> float32 `(B, features_dim)`."""
        with torch.autocast(
            frames.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            x = F.relu(self.sequences(frames.float() / 255))
        return F.adaptive_avg_pool2d(x.float(), self.pooling).flatten(1)


class PlainLoop:
    """The loop, which continues where it stopped.

    Args:
        student: provides the initial weights, and is not modified.
        batches: indices of each batch, for all steps.
        workers: number of workers of the DataLoader.
        plain_encoder: whether to use contiguous tensors instead of the student's channels last.
    """

    def __init__(
        self,
        student: StudentPolicy,
        dataset: TeacherDataset,
        batches: Sequence[np.ndarray],
        config: CloningConfig,
        workers: int,
        *,
        plain_encoder: bool = True,
    ) -> None:
        self._policy = copy.deepcopy(student)
        if plain_encoder:
            assert isinstance(student.encoder, ImpalaEncoder)
            self._policy.encoder = PlainEncoder(student.encoder)  # pyright: ignore[reportAttributeAccessIssue]
        self._family = FAMILIES[dataset.manifest.recipe.teacher["family"]]
        self._optimizer = torch.optim.AdamW(
            self._policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self._optimizer, config.gradient_steps, config.final_learning_rate
        )
        self._max_grad_norm = config.max_grad_norm
        sampler = [batch.tolist() for batch in batches]
        self._loader = iter(
            DataLoader(StackedFrames(dataset), batch_sampler=sampler, num_workers=workers)
        )

    def learn(self, n_steps: int) -> list[float]:
        """Run gradient steps, and return the loss before each."""
        losses = []
        self._policy.train()
        for _ in range(n_steps):
            batch = next(self._loader)
            student = self._policy.distribution({FRAME: batch[FRAME], PROPRIO: batch[PROPRIO]})
            teacher = self._family(batch[_MEAN], batch[_LOG_STD])  # pyright: ignore[reportCallIssue]
            loss = -student.log_prob(teacher.mode()).mean()
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._policy.parameters(), self._max_grad_norm)
            self._optimizer.step()
            self._schedule.step()
            losses.append(loss.item())
        return losses
