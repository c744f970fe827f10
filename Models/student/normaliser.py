"""Normalisation of a student's observations by fixed statistics."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

OBS_CLIP = 10.0  # standard deviations, as SB3's VecNormalize


class FrozenNormaliser(nn.Module):
    """Normalise to (x - mean) / std, clipped, with fixed statistics.

    Statistics that change would invalidate a rollout's log-probabilities before its update.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ((x.float() - self.mean) / self.std).clamp(-OBS_CLIP, OBS_CLIP)
