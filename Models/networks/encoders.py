"""The registry of the student's frame encoders, by name.

To add an encoder, write a module that maps uint8 `(B, channels, H, W)` to float32
`(B, features_dim)`, and add an entry to `ENCODERS`. A user's own encoder needs none: its mode is
`package:Class` (`Models.networks.own`). This module does not import torch, so that a command line
can be parsed quickly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from Common.errors import UserError
from Common.lazy import import_name

if TYPE_CHECKING:
    from torch import nn

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


OWN_ENCODERS: dict[str, type[nn.Module]] = {}  # by `package:Class`; filled by the user's program
_OWN = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*")
_LONGEST_NAME = 200
_OWN_KIND = "Models.networks.own:make_own"


def is_own(mode: str) -> bool:
    """Return whether a mode is the name of a user's own encoder, `package:Class`."""
    return len(mode) <= _LONGEST_NAME and _OWN.fullmatch(mode) is not None


def check_own(name: str) -> str:
    """Return the name of a user's own encoder.

    Raises:
        UserError: it is not `package:Class`.
    """
    if not is_own(name):
        raise UserError(
            f"`encoder` {name!r:.80} is not package:Class, such as my_package:MyEncoder."
        )
    return name


def encoder_kind(mode: str) -> EncoderKind:
    """Return the entry of a mode, which may be a user's own encoder."""
    return EncoderKind(_OWN_KIND, {"name": mode}) if is_own(mode) else ENCODERS[mode]
