"""The parts of a student: encoders of its frames, and multi-layer perceptrons."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from Models.networks.cnn import FlatCNN, ImpalaCNN, NatureCNN
from Models.networks.impala import FILTERS, ImpalaEncoder, convolve
from Models.student.config import NATURE, StudentConfig
from Models.teacher.description import activation_class

_Layer = TypeVar("_Layer", bound=nn.Linear | nn.Conv2d)


class FlatEncoder(nn.Module):
    """Frames -> features by a CNN with a fully connected layer, for frames of one size.

    Weights begin as SB3's features extractors do.

    Args:
        precision: "float32" or "bfloat16". Convolutions only; the rest is float32.
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
        """uint8 `(B, channels, H, W)` -> float32 `(B, features_dim)`."""
        x = convolve(frames, self.network.convolve, self.precision)
        return self.network.linear(x.flatten(1))  # (B, C, h, w) -> (B, C * h * w)


def make_encoder(config: StudentConfig, shape: tuple[int, ...]) -> ImpalaEncoder | FlatEncoder:
    """The encoder that the configuration describes.

    Args:
        shape: of an observation's frames, `(channels, H, W)`.

    Raises:
        UserError: the frames are too small for it.
    """
    units = config.fully_connected
    if not units:
        return ImpalaEncoder(shape[0], FILTERS[config.mode], config.pooling, config.precision)
    if config.mode == NATURE:
        return FlatEncoder(NatureCNN(shape, units), units, config.precision)
    return FlatEncoder(ImpalaCNN(shape, FILTERS[config.mode], units), units, config.precision)


def mlp(
    inputs: int, hidden: tuple[int, ...], outputs: int, activation: str, last_gain: float
) -> nn.Sequential:
    """Linear layers with an activation between them, initialised orthogonally as SB3 does."""
    sizes, layers = (inputs, *hidden), []
    for i, o in zip(sizes, hidden, strict=False):
        layers += [orthogonal(nn.Linear(i, o), gain=2**0.5), activation_class(activation)()]
    return nn.Sequential(*layers, orthogonal(nn.Linear(sizes[-1], outputs), gain=last_gain))


def orthogonal(layer: _Layer, gain: float) -> _Layer:
    """The layer, its weights orthogonal and its bias 0."""
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
