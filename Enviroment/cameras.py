"""Cameras, depth and the stacking of frames as data.

The channels of an observation are time-major: the oldest time step first, the newest last. Within a
time step, the cameras follow one another in their order, and each has its colour (1 channel of
gray, or red, green, blue), then, with depth, 1 channel of depth:

    (stack * cameras * (colour + depth), H, W)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from Common.errors import UserError
from Common.files.typed_json import typed

_MAX_CAMERAS, _MAX_STACK, _MAX_INTERVAL, _MAX_CHANNELS = 8, 64, 1024, 512
_SIDES = (16, 1024)  # pixels


@dataclass(frozen=True)
class Camera:
    """MuJoCo's free camera (Gymnasium's `default_camera_config`), optionally tracking a body.

    A tracking camera follows the body in the horizontal plane only: its height is visible in the
    frame, but the distance covered is not, as for a camera on the robot.
    """

    distance: float  # m
    lookat: tuple[float, float, float]  # m; x and y from the tracked body, if there is one
    azimuth: float  # degrees
    elevation: float  # degrees
    track: str | None = None  # name of the tracked body

    def described(self) -> dict[str, Any]:
        """Return plain JSON as in datasets, where `track` is left out if None (older format)."""
        values = {**dataclasses.asdict(self), "lookat": list(self.lookat)}
        if self.track is None:
            del values["track"]
        return values

    @property
    def title(self) -> str:
        """Return a short name for pictures and metadata."""
        return "camera" if self.track is None else f"camera on {self.track}"

    @property
    def forward(self) -> np.ndarray:
        """Return its line of sight in the world, a unit vector (3,)."""
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        flat = math.cos(elevation)
        return np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])


@dataclass(frozen=True)
class ModelCamera:
    """A camera of the environment's own model: fixed in the world, or moving with a body."""

    name: str

    def described(self) -> dict[str, Any]:
        """Return plain JSON."""
        return dataclasses.asdict(self)

    @property
    def title(self) -> str:
        """Return a short name for pictures and metadata."""
        return self.name


AnyCamera = Camera | ModelCamera
# One camera, several (in this order), or none.
Cameras = AnyCamera | tuple[AnyCamera, ...] | None


def as_tuple(cameras: Cameras) -> tuple[AnyCamera, ...]:
    """Return one, several or no cameras as a tuple."""
    if cameras is None:
        return ()
    return cameras if isinstance(cameras, tuple) else (cameras,)


def describe_cameras(cameras: Cameras) -> Any:
    """Return plain JSON: an object for one camera, a list for several, None for none."""
    described = [camera.described() for camera in as_tuple(cameras)]
    return (described or [None])[0] if len(described) < 2 else described


@dataclass(frozen=True)
class DepthRange:
    """The distances that a channel of depth shows, measured along the camera's line of sight."""

    near: float  # m; pixels at this distance or less are 0
    far: float  # m; pixels at this distance or more are 255

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far < math.inf:
            raise UserError(
                f"`depth_range` {self.near:g}:{self.far:g}: near must be at least 0 m, and below "
                "far."
            )

    def encode(self, metres: np.ndarray) -> np.ndarray:
        """Map distances in metres to uint8: round(255 (z - near) / (far - near)), clipped."""
        share = (metres - self.near) / (self.far - self.near)
        return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class View:
    """One picture in a time step of an observation."""

    title: str
    channels: slice  # of the time step: 1 channel, or 3 of colour
    is_depth: bool


@dataclass(frozen=True)
class CameraSet:
    """What the frames of a task are drawn from, and how they are stacked."""

    cameras: tuple[AnyCamera, ...] = ()  # none: of a game, or no frames
    rgb: bool = False  # red, green and blue instead of gray
    depth: DepthRange | None = None  # the range of the depth channels; None: no depth
    stack: int = 4  # time steps per observation
    interval: int = 2  # env steps between them
    size: tuple[int, int] = (64, 64)  # pixels, height and width

    def __post_init__(self) -> None:
        h, w = self.size
        if min(h, w) < _SIDES[0] or max(h, w) > _SIDES[1]:
            raise UserError(
                f"`frame_size` {h}x{w}: height and width must be between {_SIDES[0]} and "
                f"{_SIDES[1]} pixels."
            )
        if not 1 <= self.stack <= _MAX_STACK:
            raise UserError(
                f"`stack` {self.stack}: a task needs a frame stack of 1 to {_MAX_STACK}."
            )
        if not 1 <= self.interval <= _MAX_INTERVAL:
            raise UserError(
                f"`frame_interval` {self.interval}: a task needs a frame interval of 1 to "
                f"{_MAX_INTERVAL} env steps."
            )
        if len(self.cameras) > _MAX_CAMERAS:
            raise UserError(f"`camera`: {len(self.cameras)} cameras are more than {_MAX_CAMERAS}.")
        if self.depth is not None and not self.cameras:
            raise UserError("`depth` needs a MuJoCo `camera`: other frames have no distances.")
        twice = [c.title for i, c in enumerate(self.cameras) if c in self.cameras[:i]]
        if twice:
            raise UserError(f"`camera`: {twice[0]} is given twice. Name each camera once.")
        if self.stack * self.channels > _MAX_CHANNELS:
            raise UserError(
                f"`stack` {self.stack}: frames of {self.channels} channels make "
                f"{self.stack * self.channels}, more than {_MAX_CHANNELS}. Use fewer."
            )

    @property
    def colours(self) -> int:
        """Channels of colour per camera: 1 (gray) or 3 (red, green, blue)."""
        return 3 if self.rgb else 1

    @property
    def camera_channels(self) -> int:
        """Channels per camera and time step."""
        return self.colours + (self.depth is not None)

    @property
    def channels(self) -> int:
        """Channels per time step. A game counts as one camera."""
        return max(1, len(self.cameras)) * self.camera_channels

    def views(self) -> list[View]:
        """Return the pictures of one time step, in the order of their channels."""
        titles = [camera.title for camera in self.cameras] or ["frame"]
        views = []
        for i, title in enumerate(titles):
            first = i * self.camera_channels
            end = first + self.colours
            views.append(View(title, slice(first, end), is_depth=False))
            if self.depth is not None:
                views.append(View(f"{title} depth", slice(end, end + 1), is_depth=True))
        return views

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON for `from_json`."""
        return {
            **dataclasses.asdict(self),
            "cameras": [camera.described() for camera in self.cameras],
            "size": list(self.size),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the set of `as_json`.

        Raises:
            ValueError, UserError: it is not valid.
        """
        return typed(cls, data, "camera_set")
