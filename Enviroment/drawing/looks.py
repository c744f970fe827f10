"""Random looks of an episode: light, colours, textures and camera pose, drawn from its seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from Common.errors import UserError
from Common.files.typed_json import typed
from Common.names import nearest

_LOOKS = 1_819_242_347  # separates these random numbers from others of the same seed
_LARGEST = 10.0  # of a factor's range: 1/11 to 11 times
_WIDEST = 90.0  # degrees


@dataclass(frozen=True)
class LookRanges:
    """How far the looks of an episode may be from those of the environment.

    A factor with the range r is drawn log-uniformly between 1 / (1 + r) and 1 + r, everything else
    uniformly between -r and r. A range of 0 changes nothing.
    """

    light: float = 0.35  # factor of the intensity of all lights together
    ambient: float = 0.5  # factor of their ambient part, besides
    light_angle: float = 15.0  # degrees by which each light is turned
    colour: float = 0.05  # added to red, green and blue (0 to 1) of each material, geom and site
    texture: float = 0.3  # factor of the contrast of each texture
    camera_turn: float = 3.0  # degrees by which a camera is turned to a side, and up
    camera_roll: float = 3.0  # degrees about its line of sight
    camera_orbit: float = 3.0  # degrees about the point that a free camera looks at, in both ways
    camera_zoom: float = 0.05  # factor of the size of everything in the picture

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), _most(field.name)
            if not 0 <= value <= most:
                raise UserError(
                    f"`look_ranges` {field.name}={value:g}: give 0 to {most:g}, {unit(field.name)}."
                )

    def of_episode(self, seed: int) -> Looks:
        """Return the looks of the episode with this seed."""
        return Looks(self, seed)

    def scaled(self, share: float) -> Self:
        """Return a share of all ranges, which gives the same looks but weaker.

        Raises:
            UserError: a range is then too large.
        """
        values = dataclasses.asdict(self).items()
        return type(self)(**{name: share * value for name, value in values})

    def as_json(self) -> dict[str, float]:
        """Return plain JSON for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the ranges of `as_json`.

        Raises:
            ValueError, UserError: they are not valid.
        """
        return typed(cls, data, "looks")


def unit(name: str) -> str:
    """Return the unit of a range, for messages."""
    if name == "colour":
        return "a share of full intensity"
    return "degrees" if _is_angle(name) else "a factor of up to 1 + this, or its inverse"


def _is_angle(name: str) -> bool:
    return name in ("light_angle", "camera_turn", "camera_roll", "camera_orbit")


def _most(name: str) -> float:
    return _WIDEST if _is_angle(name) else 1.0 if name == "colour" else _LARGEST


def parse_look_ranges(text: str) -> LookRanges:
    """Parse ranges that differ from the defaults: "light=0.8,camera_turn=5".

    Raises:
        UserError: a pair is not NAME=NUMBER, is given twice, or is out of range.
    """
    known = [field.name for field in dataclasses.fields(LookRanges)]
    values: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        name, _, number = part.partition("=")
        if name not in known:
            raise UserError(
                f"`look_ranges` {part!r:.80}: there is no range {name!r:.40}. Did you mean "
                f"{nearest(name, known)}? The ranges: {', '.join(known)}."
            )
        if name in values:
            raise UserError(f"`look_ranges`: {name} is given twice.")
        try:
            values[name] = float(number)
        except ValueError as error:
            raise UserError(f"`look_ranges` {part!r:.80} is not NAME=NUMBER.") from error
        if not math.isfinite(values[name]):
            raise UserError(f"`look_ranges` {part!r:.80} is not finite.")
    return LookRanges(**values)


@dataclass(frozen=True)
class CameraChange:
    """How a camera of an episode differs from the plain one."""

    turn: tuple[float, float]  # degrees to the right, and up
    roll: float  # degrees about the line of sight
    orbit: tuple[float, float]  # degrees about the axes that point up and to the right
    zoom: float  # factor of the size of everything in the picture


@dataclass(frozen=True)
class Looks:
    """The looks of one episode, for a model of any size."""

    ranges: LookRanges
    seed: int  # of the episode
    turn: float = 0.0  # degrees by which all cameras are turned to the right, besides

    def light(self) -> tuple[float, float]:
        """Return the factor of all lights, and that of their ambient part."""
        u = self._uniform(0, 2)
        return _factor(u[0], self.ranges.light), _factor(u[1], self.ranges.ambient)

    def light_turns(self, n: int) -> np.ndarray:
        """Return the rotation vectors of `n` lights, radians (n, 3)."""
        u = self._uniform(1, (n, 4))
        # Of a cube, directions are close enough to uniform.
        axes = u[:, :3] / np.maximum(np.linalg.norm(u[:, :3], axis=1, keepdims=True), 1e-9)
        return axes * u[:, 3:] * math.radians(self.ranges.light_angle)

    def colours(self, kind: int, n: int) -> np.ndarray:
        """Return what is added to red, green and blue of `n` things of a kind, (n, 3)."""
        return self.ranges.colour * self._uniform(10 + kind, (n, 3))

    def contrasts(self, n: int) -> list[float]:
        """Return the factors of the contrast of `n` textures."""
        return [_factor(u, self.ranges.texture) for u in self._uniform(2, n)]

    def camera(self, index: int) -> CameraChange:
        """Return the change of a camera, by its index in an observation."""
        r, u = self.ranges, self._uniform(1000 + index, 6)
        return CameraChange(
            turn=(self.turn + r.camera_turn * u[0], r.camera_turn * u[1]),
            roll=r.camera_roll * u[2],
            orbit=(r.camera_orbit * u[3], r.camera_orbit * u[4]),
            zoom=_factor(u[5], r.camera_zoom),
        )

    def _uniform(self, what: int, size: int | tuple[int, ...]) -> np.ndarray:
        """Return numbers from -1 to 1. Each aspect has its own, whatever the others need."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(_LOOKS, what))
        return np.random.default_rng(sequence).uniform(-1, 1, size)


@dataclass(frozen=True)
class TurnedCameras:
    """The looks of the environment in every episode, from cameras that are turned to the right."""

    degrees: float  # below 0: to the left

    def of_episode(self, seed: int) -> Looks:
        """Return the looks of the episode with this seed."""
        return Looks(LookRanges().scaled(0.0), seed, self.degrees)


EpisodeLooks = LookRanges | TurnedCameras


def _factor(u: float, range_: float) -> float:
    return float((1 + range_) ** u)
