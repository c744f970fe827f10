"""The IMPALA-CNN encoder (Espeholt et al. 2018, figure 3), pooled to a fixed grid."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Common.device import precision_on


class ResidualBlock(nn.Module):
    """Residual block x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        # In place where no gradient needs the former value: fewer large tensors.
        hidden = F.relu(self.conv1(F.relu(x)), inplace=True)
        return self.conv2(hidden).add_(x)


def impala_sequences(in_channels: int, filters: tuple[int, ...]) -> nn.Sequential:
    """Return a sequence of conv 3x3, max pool 3 stride 2, two residual blocks per filter count."""
    channels = (in_channels, *filters)
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(inner, outer, 3, padding=1),
                nn.MaxPool2d(3, stride=2, padding=1),
                ResidualBlock(outer),
                ResidualBlock(outer),
            )
            for inner, outer in zip(channels, filters, strict=False)
        )
    )


class Encoder(nn.Module):
    """Maps uint8 frames `(B, channels, H, W)` to float32 features `(B, features_dim)`."""

    features_dim: int
    precision: str  # of the convolutions: "float32" or "bfloat16"


class ImpalaEncoder(Encoder):
    """The IMPALA-CNN with average pooling, for frames of any size.

    Args:
        in_channels: frames per observation (times three for RGB).
        filters: channels of each sequence of conv 3x3, max pool 3 stride 2, two residual blocks.
        pooling: side of the grid after spatial average pooling. 1 discards positions; 3 keeps
            enough of them for control.
        precision: "float32" or "bfloat16" if the device supports it (see `precision_on`), of the
            convolutions; the features are float32.
    """

    def __init__(
        self, in_channels: int, filters: tuple[int, ...], pooling: int, precision: str
    ) -> None:
        super().__init__()
        self.sequences = impala_sequences(in_channels, filters)
        self.pooling = pooling
        self.features_dim = filters[-1] * pooling**2
        self.precision = precision
        # Channels-last is 1.7 to 2.3 times as fast as contiguous on a CPU, and no slower on CUDA.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, channels, H, W)` to float32 `(B, features_dim)`."""
        x = convolve(frames, lambda x: F.relu(self.sequences(x)), self.precision)
        # (B, C, h, w) -> (B, C, pooling, pooling) -> (B, features_dim)
        return F.adaptive_avg_pool2d(x, self.pooling).flatten(1)


def convolve(
    images: Tensor, network: Callable[[Tensor], Tensor], precision: str, white: float = 255.0
) -> Tensor:
    """Scale images `(B, C, H, W)` of any type to [0, 1], and return the network's float32 output.

    Use channels-last memory, and bfloat16 if it is the precision and the device supports it.

    Args:
        white: the pixel value that is scaled to 1.
    """
    is_half = precision_on(images.device, precision) == "bfloat16"
    x = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=is_half):
        return network(x.to(torch.bfloat16 if is_half else torch.float32) / white).float()
