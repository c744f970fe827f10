"""The registry of the student's frame encoders, by name.

To add an encoder, write a module that maps uint8 `(B, channels, H, W)` to float32
`(B, features_dim)`, and add an entry to `ENCODERS`. This module does not import torch, so that a
command line can be parsed quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from Common.lazy import import_name

if TYPE_CHECKING:
    from Models.networks.impala import Encoder


@dataclass(frozen=True)
class EncoderSettings:
    """Settings of the encoder in a student's configuration."""

    pooling: int  # side of the grid to which features are averaged
    fully_connected: int  # units of a layer on the flattened convolutions; 0: use `pooling`
    precision: str  # of the convolutions: float32 or bfloat16
    # Channels of each camera in one time step, for an encoder per camera; (): one for all cameras
    camera_channels: tuple[int, ...] = ()
    keypoints: int = 0  # of a spatial soft-argmax, instead of `pooling`; 0: none


@dataclass(frozen=True)
class EncoderKind:
    """An entry of the registry."""

    maker: str  # "module:callable" of shape, settings and `arguments`; see `make`
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs_units: bool = False  # whether it always has a fully connected layer
    is_mode: bool = True  # whether it is a choice of `--mode`

    def make(self, shape: tuple[int, ...], settings: EncoderSettings) -> Encoder:
        """Return the encoder for frames `(channels, H, W)`.

        Raises:
            UserError: the frames are too small.
        """
        return import_name(self.maker)(shape, settings, **self.arguments)


NATURE = "NatureCNN"
FILTERS = {
    "ImpaalaSmall": (16, 32),
    "ImpaalaMid": (16, 32, 32),
    "ImpaalaBig": (32, 64, 64),
}
_IMPALA = "Models.networks.flat:make_impala"
ENCODERS: Mapping[str, EncoderKind] = {
    **{name: EncoderKind(_IMPALA, {"filters": filters}) for name, filters in FILTERS.items()},
    NATURE: EncoderKind("Models.networks.flat:make_nature", needs_units=True, is_mode=False),
}
