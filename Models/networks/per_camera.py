"""The encoder of frames of one or several cameras."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from Common.errors import UserError
from Models.networks.encoders import EncoderSettings, encoder_kind
from Models.networks.impala import Encoder


class PerCamera(Encoder):
    """One encoder per camera, each with weights of its own; their features are concatenated.

    Args:
        encoders: one for each camera, for its channels of all time steps.
        channels: channels of each camera in one time step.
    """

    def __init__(self, encoders: Sequence[Encoder], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.channels = channels
        self.features_dim = sum(encoder.features_dim for encoder in encoders)
        self.precision = encoders[0].precision

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, stack * channels, H, W)` to float32 `(B, features_dim)`."""
        b, _, h, w = frames.shape
        steps = frames.reshape(b, -1, sum(self.channels), h, w)  # (B, stack, channels, H, W)
        # Each camera's (B, stack, c, H, W) -> (B, stack * c, H, W)
        parts = (part.reshape(b, -1, h, w) for part in steps.split(self.channels, dim=2))
        return torch.cat([e(part) for e, part in zip(self.encoders, parts, strict=True)], dim=1)


def make_encoder(mode: str, shape: tuple[int, ...], settings: EncoderSettings) -> Encoder:
    """Return the encoder of a mode for frames of a shape, `(stack * channels, H, W)`.

    Raises:
        UserError: the frames are too small, or not of the cameras of the settings.
    """
    make, cameras = encoder_kind(mode).make, settings.camera_channels
    if not cameras:
        return make(shape, settings)
    stack, rest = divmod(shape[0], sum(cameras))
    if rest or not stack:
        raise UserError(
            f"frames have {shape[0]} channels, no multiple of those of the cameras, {cameras}."
        )
    return PerCamera([make((stack * c, *shape[1:]), settings) for c in cameras], cameras)
