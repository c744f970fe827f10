"""What a task is, as data."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from Common.errors import UserError

Simulator = Literal["gymnasium", "envpool"]
Suite = Literal["", "mujoco", "hopper", "atari", "procgen"]

_ENV_ID = re.compile(r"(?:[A-Za-z_]\w*(?:\.\w+)*:)?[\w.-]+(?:/[\w.-]+)?")
_LONGEST_ID = 200
_MAX_STACK, _MAX_INTERVAL, _MAX_STATE = 64, 1024, 2**20
# Suites share a script; other tasks have one of their own.
SUITE_SCRIPTS = {"mujoco": "MuJoCo", "hopper": "Hopper", "atari": "Atari", "procgen": "Procgen"}


@dataclass(frozen=True)
class Camera:
    """MuJoCo's free camera (Gymnasium's `default_camera_config`), which may travel with a body.

    A camera that tracks moves with the body in the plane alone: how high the body stands can be
    seen in the picture, and how far it has come cannot, as a robot's own camera would have it.
    """

    distance: float  # m
    lookat: tuple[float, float, float]  # m; x and y from the tracked body, if there is one
    azimuth: float  # degrees
    elevation: float  # degrees
    track: str | None = None  # name of the body that it travels with

    def described(self) -> dict[str, Any]:
        """Plain JSON, as datasets have it. Those that are older than `track` say nothing of it."""
        values = {**dataclasses.asdict(self), "lookat": list(self.lookat)}
        if self.track is None:
            del values["track"]
        return values


@dataclass(frozen=True)
class Distance:
    """A distance in the plane that tells how far an episode got, read off the state.

    `|state[a] - state[b]|`, or `|state[a]|` where the state already holds a difference.
    """

    name: str  # metric key
    a: tuple[int, int]  # state[a0:a1]
    b: tuple[int, int] | None
    success_below: float  # m

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """`(..., state_dim)` -> `(...)`, in metres."""
        difference = state[..., slice(*self.a)]
        if self.b is not None:
            difference = difference - state[..., slice(*self.b)]
        return np.linalg.norm(difference, axis=-1)


@dataclass(frozen=True)
class Task:
    """What is simulated, what each observation group holds, and how success is told."""

    name: str
    env_id: str  # of Gymnasium; `package:Id-v0` imports the package that registers it
    camera: Camera | None  # None: there are no pixels, and students see the state
    proprio: tuple[tuple[int, int], ...]  # ranges of the state that a robot's own joints give
    distance: Distance | None
    frame_size: tuple[int, int] = (64, 128)  # pixels, height and width
    grayscale: bool = True
    stack: int = 4  # frames an observation
    frame_interval: int = 2  # env steps between the frames of a stack
    suite: Suite = ""  # whose networks and settings of the paper apply
    simulator: Simulator = "gymnasium"
    custom: bool = False  # a user's own, that the registry does not have
    # A file's text says what it is, so no package is imported for it: `make_simulation` refuses.
    described: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _ENV_ID.fullmatch(self.env_id) or len(self.env_id) > _LONGEST_ID:
            raise UserError(
                f"{self.env_id!r:.80} is no environment's id, such as Hopper-v5 or package:Id-v0."
            )
        if min(self.frame_size) < 16 or max(self.frame_size) > 1024:
            raise UserError(
                f"`frame_size` {self.frame_size[0]}x{self.frame_size[1]}: "
                "height and width must lie between 16 and 1024 pixels."
            )
        if not (1 <= self.stack <= _MAX_STACK and 1 <= self.frame_interval <= _MAX_INTERVAL):
            raise UserError(
                f"A task needs a frame stack of 1 to {_MAX_STACK} and a frame interval of 1 to "
                f"{_MAX_INTERVAL}."
            )
        if any(not 0 <= first < end <= _MAX_STATE for first, end in self.proprio):
            raise UserError(f"Proprioception {self.proprio!r:.80} is no range of a state.")

    @property
    def script(self) -> str:
        """What to type after `python Distillation/` or `python Train_Teacher/` for this task."""
        if self.custom:
            return f"Custom.py --env_id {self.env_id}"
        if self.suite:
            return f"{SUITE_SCRIPTS[self.suite]}.py --env {self.name}"
        return f"{self.name}.py"

    @property
    def is_game(self) -> bool:
        """Whether EnvPool plays it. Games have no state, and show frames alone."""
        return self.simulator == "envpool"

    @property
    def has_frames(self) -> bool:
        """Whether there is anything to see: a game, or a camera."""
        return self.is_game or self.camera is not None

    @property
    def judged_by_mode(self) -> bool:
        """Whether policies are evaluated by the mode of what they would do, or by samples of it.

        The paper samples in Procgen, where a policy that repeats itself can be stuck for good.
        """
        return self.suite != "procgen"

    @property
    def history(self) -> int:
        """How many frames back a full stack reaches."""
        return (self.stack - 1) * self.frame_interval

    @property
    def proprio_indices(self) -> np.ndarray:
        """Places in the state, int64 (P,); none where the task has no proprioception."""
        ranges = [np.arange(*bounds) for bounds in self.proprio]
        return np.concatenate([np.empty(0, np.int64), *ranges])
