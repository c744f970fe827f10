"""The CNNs of the papers: convolutions, flattened into one fully connected layer.

Teachers and students share them. A student's CNN is wrapped in a
`Models.networks.flat.FlatEncoder`, which takes raw frames and uses the fast precision.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Common.errors import UserError
from Models.networks.impala import impala_sequences


class FlatCNN(nn.Module, ABC):
    """Images in [0, 1], `(B, C, H, W)` float -> `(B, n_features)`."""

    linear: nn.Sequential

    @abstractmethod
    def convolve(self, images: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to `(B, C', H', W')`, never below 0."""

    def forward(self, images: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to `(B, n_features)`."""
        return self.linear(self.convolve(images).flatten(1))


class NatureCNN(FlatCNN):
    """The network of Mnih et al., "Human-level control through deep RL", 2015, as in SB3.

    Args:
        shape: shape of an image, channels first.

    Raises:
        UserError: the image is too small for the convolutions.
    """

    def __init__(self, shape: tuple[int, ...], n_features: int) -> None:
        super().__init__()
        channels, *sides = shape
        for kernel, stride in ((8, 4), (4, 2), (3, 1)):
            sides = [(side - kernel) // stride + 1 for side in sides]
        if min(sides) < 1:
            raise UserError(f"images of {shape[1]}x{shape[2]} pixels are too small for the CNN.")
        self.cnn = nn.Sequential(
            *(nn.Conv2d(channels, 32, 8, stride=4), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, stride=1), nn.ReLU()),
        )
        self.linear = nn.Sequential(nn.Linear(64 * math.prod(sides), n_features), nn.ReLU())

    def convolve(self, images: Tensor) -> Tensor:
        return self.cnn(images)


class ImpalaCNN(FlatCNN):
    """The network of Espeholt et al., "IMPALA", 2018 (figure 3), without its LSTM.

    Args:
        shape: shape of an image, channels first.
        filters: channels of each sequence.
    """

    def __init__(self, shape: tuple[int, ...], filters: tuple[int, ...], n_features: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.sequences = impala_sequences(channels, filters)
        # Each sequence halves the sides, rounding up: a pool of 3 with stride 2 and padding 1.
        flat = filters[-1] * math.prod(-(-side // 2 ** len(filters)) for side in sides)
        self.linear = nn.Sequential(nn.Linear(flat, n_features), nn.ReLU())

    def convolve(self, images: Tensor) -> Tensor:
        # Channels-last is about twice as fast as contiguous on a CPU.
        return F.relu(self.sequences(images.contiguous(memory_format=torch.channels_last)))
