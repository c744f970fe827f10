"""Measure a student on held-out episodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.forward import Forward
from Algorithm.cloning.losses import batch_figures, cloning_losses, minimised
from Algorithm.cloning.samples.data import BatchReader, Samples, in_episodes
from Algorithm.cloning.streams import episodes_of
from Algorithm.meter import to_numbers
from Models.agreement import ActionAccuracy
from Models.student.policy import StudentPolicy


def validation_figures(
    policy: StudentPolicy, held_out: Samples, config: CloningConfig, accuracy: ActionAccuracy
) -> dict[str, float]:
    """Return losses and accuracy on up to `config.validation_samples` held-out samples."""
    n = min(len(held_out), config.validation_samples)
    indices, starts = to_validate(held_out, n, policy.config.is_recurrent)
    forward = Forward(policy, 1)
    reader = BatchReader(held_out, policy.config.groups, policy.device)
    policy.set_training_mode(False)
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for start in range(0, n, config.batch_size):
            part = indices[start : start + config.batch_size]
            batch = reader(part)
            student = forward(batch.obs, starts[start : start + config.batch_size])
            losses = cloning_losses(student, batch.teacher)
            figures = batch_figures(losses, student, batch.teacher, accuracy)
            figures["loss"] = minimised(losses, student, batch.teacher, config).mean()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value.double() * (len(part) / n)
    return to_numbers(sums)


def to_validate(data: Samples, n: int, recurrent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return `n` samples for validation, `(n,)`, and where episodes begin, bool `(n, 1)`.

    These are spread evenly, or of a recurrent student whole episodes, except the last one.
    """
    if not recurrent:
        return np.linspace(0, len(data) - 1, n).astype(np.int64), np.zeros((n, 1), bool)
    episodes = episodes_of(in_episodes(data).episode_numbers())
    firsts = np.cumsum([0, *map(len, episodes[:-1])])
    return np.concatenate(episodes)[:n], np.isin(np.arange(n), firsts)[:, None]
