"""The configuration of the student's network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from Common.errors import UserError
from Common.files.typed_json import typed
from Enviroment.task import FRAME, PROPRIO, STATE
from Models.families import FAMILY_NAMES
from Models.networks.encoders import ENCODERS, FILTERS, EncoderSettings, encoder_kind, is_own
from Models.networks.limits import check_activation, check_layers

_MAX_POOLING, _MAX_CAMERAS, _MAX_KEYPOINTS = 256, 8, 4096
LOG_STD_RANGE = (-5.0, 2.0)  # of a student's actions; beyond it they have no gradient
MODES = ("State", *ENCODERS)
RECURRENT = ("none", "gru")


@dataclass(frozen=True)
class StudentConfig:
    """The student's network. All encoders have the same heads."""

    mode: str = "ImpaalaSmall"  # State, an encoder of the toolkit, or a user's own package:Class
    family: str = "gaussian"
    pooling: int = 3  # side of the grid to which the encoder's features are averaged
    proprio_features: int = 64  # 0: the student observes frames only
    head: tuple[int, ...] = (128, 128)  # units of the actor's hidden layers, and of the critic's
    critic_on_state: bool = False  # in training only; the deployed student never needs the state
    init_log_std: float = -1.5  # close to a teacher's; larger values waste samples off its path
    precision: str = "auto"  # of training: float32, bfloat16, or the faster one on this device
    # Older bundles lack the following fields, and have the defaults.
    critic_head: tuple[int, ...] | None = None  # None: as `head`
    activation: str = "SiLU"
    fully_connected: int = 0  # units of a layer on the flattened convolutions; 0: use `pooling`
    separate_critic: bool = False  # the critic has its own encoder of frames
    std_by_state: bool = True  # False: one state-independent standard deviation per action
    # Channels of each camera in one time step, for an encoder per camera; (): one for all cameras
    camera_channels: tuple[int, ...] = ()
    keypoints: int = 0  # of a spatial soft-argmax, instead of `pooling`; 0: none
    # SHA-256 of the file of the frozen `backbone` of a user's own encoder; empty: nothing is frozen
    backbone_sha256: str = ""
    recurrent: str = "none"  # "gru": heads see a memory of the episode besides the features
    recurrent_units: int = 128  # of that memory
    critic_activation: str | None = None  # None: as `activation`

    def __post_init__(self) -> None:
        if self.mode not in MODES and not is_own(self.mode):
            raise UserError(f"Unknown mode {self.mode!r:.80}. Choose one of {', '.join(MODES)}.")
        if self.family not in FAMILY_NAMES:
            raise UserError(
                f"A student's actions cannot be {self.family!r}, only {', '.join(FAMILY_NAMES)}."
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UserError(f"`precision` {self.precision!r} is not auto, float32 or bfloat16.")
        if not 1 <= self.pooling <= _MAX_POOLING:
            raise UserError(f"`pooling` {self.pooling} must be 1 to {_MAX_POOLING}.")
        low, high = LOG_STD_RANGE
        if not low <= self.init_log_std <= high:
            raise UserError(
                f"`init_log_std` {self.init_log_std:g} must be {low:g} to {high:g}, between which "
                "log stds are clipped: beyond, they would never be learned."
            )
        check_activation(self.activation)
        check_activation(self.critic_activation or self.activation)
        self._check_sizes()
        self._check_memory()

    def _check_sizes(self) -> None:
        layers = (*self.head, *(self.critic_head or ()))
        if min(layers, default=1) < 1 or min(self.proprio_features, self.fully_connected) < 0:
            raise UserError(
                f"A student's layers cannot have {layers} units, {self.proprio_features} of "
                f"proprioception and {self.fully_connected} of its frames."
            )
        if (
            self.mode != "State"
            and encoder_kind(self.mode).needs_units
            and not self.fully_connected
        ):
            raise UserError(f"Mode {self.mode} needs fully_connected units, such as 64.")
        if not 0 <= self.keypoints <= _MAX_KEYPOINTS:
            raise UserError(f"`keypoints` {self.keypoints} must be 0 to {_MAX_KEYPOINTS}.")
        if self.keypoints and (self.mode not in FILTERS or self.fully_connected):
            raise UserError(
                f"`keypoints` {self.keypoints} are for {', '.join(FILTERS)} without a fully "
                f"connected layer, not for mode {self.mode}."
            )
        if self.backbone_sha256 and not (is_own(self.mode) and not self.camera_channels):
            raise UserError(
                "`backbone` is for one `encoder` of your own for all cameras, whose class has a "
                f"`backbone`, not for mode {self.mode}."
            )
        if self.backbone_sha256 and self.separate_critic:
            raise UserError(
                "separate_critic: the critic's encoder would not get the weights of `backbone`. "
                "Leave out one of them."
            )
        if self.backbone_sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.backbone_sha256):
            raise UserError(
                f"`backbone_sha256` {self.backbone_sha256!r:.80} is not a SHA-256, 64 digits of "
                "0 to 9 and a to f."
            )
        cameras = self.camera_channels
        wrong = len(cameras) > _MAX_CAMERAS or min(cameras, default=1) < 1
        if wrong or (cameras and self.mode == "State"):
            raise UserError(
                f"`camera_channels` {cameras!s:.80}: mode {self.mode} cannot have an "
                "encoder for each camera with that many channels."
            )
        check_layers(self.head, self.critic_head or ())
        check_layers(*((n,) for n in (self.proprio_features, self.fully_connected) if n))
        frames_only = self.groups == (FRAME,)
        if self.separate_critic and (not frames_only or self.critic_on_state):
            raise UserError(
                "separate_critic needs a student of frames only, without critic_on_state."
            )

    def _check_memory(self) -> None:
        if self.recurrent not in RECURRENT:
            raise UserError(f"`recurrent` {self.recurrent!r} is not {' or '.join(RECURRENT)}.")
        check_layers((self.recurrent_units,))
        if self.is_recurrent and self.mode == "State":
            raise UserError(
                "`recurrent` does not work in mode State: the state leaves nothing to remember. "
                "Choose an Impaala mode."
            )
        if self.is_recurrent and self.separate_critic:
            raise UserError("A recurrent student's critic cannot have an encoder of its own.")

    @property
    def is_recurrent(self) -> bool:
        """Whether actions depend on what was observed earlier in the episode."""
        return self.recurrent != "none"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON.

        Newer fields are left out if they have their defaults, so that older versions can read
        every configuration that they support.
        """
        names = [field.name for field in fields(self)]
        newer = names[names.index("critic_head") :]
        unchanged = {name for name in newer if getattr(self, name) == getattr(type(self), name)}
        return {name: value for name, value in asdict(self).items() if name not in unchanged}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the configuration of `as_json`.

        Raises:
            UserError: the configuration is not valid.
            ValueError: a field is unknown, or a value has another type.
        """
        return typed(cls, data, "config")

    @property
    def encoder(self) -> EncoderSettings:
        """Settings of the encoder."""
        return EncoderSettings(
            *(self.pooling, self.fully_connected, self.precision, self.camera_channels),
            self.keypoints,
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Observation groups of the deployed student."""
        if self.mode == "State":
            return (STATE,)
        return (FRAME, PROPRIO) if self.proprio_features else (FRAME,)
