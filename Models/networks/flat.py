"""Frame encoders of students: the IMPALA-CNN pooled to a grid, or a CNN for frames of one size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from Models.networks.cnn import FlatCNN, ImpalaCNN, NatureCNN
from Models.networks.encoders import EncoderSettings
from Models.networks.impala import Encoder, ImpalaEncoder, convolve
from Models.networks.keypoints import KeypointEncoder
from Models.networks.layers import orthogonal


class FlatEncoder(Encoder):
    """A CNN with a fully connected layer, for frames of one size.

    Weights are initialised as in SB3's features extractors.

    Args:
        precision: "float32" or "bfloat16", of the convolutions; the rest is float32.
    """

    def __init__(self, network: FlatCNN, features_dim: int, precision: str) -> None:
        super().__init__()
        self.network, self.features_dim, self.precision = network, features_dim, precision
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                orthogonal(layer, gain=2**0.5)
        # Channels-last is 1.7 to 2.3 times as fast as contiguous on a CPU, and no slower on CUDA.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, channels, H, W)` to float32 `(B, features_dim)`."""
        x = convolve(frames, self.network.convolve, self.precision)
        return self.network.linear(x.flatten(1))  # (B, C, h, w) -> (B, C * h * w)


def make_impala(
    shape: tuple[int, ...], settings: EncoderSettings, filters: tuple[int, ...]
) -> Encoder:
    """Return the IMPALA-CNN for frames `(channels, H, W)`."""
    units = settings.fully_connected
    if units:
        return FlatEncoder(ImpalaCNN(shape, filters, units), units, settings.precision)
    if settings.keypoints:
        return KeypointEncoder(shape[0], filters, settings.keypoints, settings.precision)
    return ImpalaEncoder(shape[0], filters, settings.pooling, settings.precision)


def make_nature(shape: tuple[int, ...], settings: EncoderSettings) -> Encoder:
    """Return the CNN of Mnih et al. for frames `(channels, H, W)`."""
    units = settings.fully_connected
    return FlatEncoder(NatureCNN(shape, units), units, settings.precision)
