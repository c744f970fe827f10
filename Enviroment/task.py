"""The description of a task as data: environment, camera, observation groups, success."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from Common.errors import UserError
from Enviroment.cameras import AnyCamera, Camera, Cameras, CameraSet, DepthRange, as_tuple

__all__ = ["SUITE_SCRIPTS", "Camera", "Distance", "Simulator", "Suite", "Task"]

Simulator = Literal["gymnasium", "envpool"]
Suite = Literal["", "mujoco", "hopper", "atari", "procgen"]
FRAME, PROPRIO, STATE = "frame", "proprio", "state"  # observation groups

_ENV_ID = re.compile(r"(?:[A-Za-z_]\w*(?:\.\w+)*:)?[\w.-]+(?:/[\w.-]+)?")
_LONGEST_ID = 200
RECORDED = "recorded"  # in place of an id: the task is known from recordings only
_MAX_STATE = 2**20
# The tasks of a suite share a script; other tasks have their own.
SUITE_SCRIPTS = {"mujoco": "MuJoCo", "hopper": "Hopper", "atari": "Atari", "procgen": "Procgen"}


@dataclass(frozen=True)
class Distance:
    """A distance computed from the state that measures the success of an episode.

    `|state[a] - state[b]|`, or `|state[a]|` if the state already holds the difference.
    """

    name: str  # metric key
    a: tuple[int, int]  # state[a0:a1]
    b: tuple[int, int] | None
    success_below: float  # m

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """Map states `(..., state_dim)` to distances `(...)` in metres."""
        difference = state[..., slice(*self.a)]
        if self.b is not None:
            difference = difference - state[..., slice(*self.b)]
        return np.linalg.norm(difference, axis=-1)


@dataclass(frozen=True)
class Task:
    """The environment, the content of each observation group, and the measure of success."""

    name: str
    env_id: str  # of Gymnasium; `package:Id-v0` imports the package that registers it
    camera: Cameras  # one, several, or None: no frames; students observe the state
    proprio: tuple[tuple[int, int], ...]  # ranges of the state measured by the robot's own joints
    distance: Distance | None
    frame_size: tuple[int, int] = (64, 128)  # pixels, height and width
    grayscale: bool = True
    stack: int = 4  # frames per observation
    frame_interval: int = 2  # env steps between the frames of a stack
    suite: Suite = ""  # selects the paper's networks and settings
    simulator: Simulator = "gymnasium"
    custom: bool = False  # defined by the user, not in the registry
    # The task comes from a file, so `make_simulation` imports no package for it.
    described: bool = field(default=False, compare=False, repr=False)
    depth: DepthRange | None = None  # range of the depth channels; None: frames have no depth

    def __post_init__(self) -> None:
        if not _ENV_ID.fullmatch(self.env_id) or len(self.env_id) > _LONGEST_ID:
            raise UserError(
                f"{self.env_id!r:.80} is not an environment id, such as Hopper-v5 or package:Id-v0."
            )
        self.camera_set  # noqa: B018 - raises if invalid
        if any(not 0 <= first < end <= _MAX_STATE for first, end in self.proprio):
            raise UserError(f"Proprioception {self.proprio!r:.80} is not a range of a state.")

    @property
    def script(self) -> str:
        """Script and arguments after `python Distillation/` or `python Train_Teacher/`."""
        if self.custom:
            return f"Custom.py --env_id {self.env_id}"
        if self.suite:
            return f"{SUITE_SCRIPTS[self.suite]}.py --env {self.name}"
        return f"{self.name}.py"

    @property
    def is_game(self) -> bool:
        """Whether the task is a game of EnvPool. Games have frames but no state."""
        return self.simulator == "envpool"

    @property
    def has_frames(self) -> bool:
        """Whether there are frames: from a game, or from a camera."""
        return self.is_game or bool(self.cameras)

    @property
    def cameras(self) -> tuple[AnyCamera, ...]:
        """The cameras of the frames; empty for a game, or without frames."""
        return as_tuple(self.camera)

    @property
    def camera_set(self) -> CameraSet:
        """The cameras with the channels, stacking and size of the frames, as one value."""
        return CameraSet(
            *(self.cameras, not self.grayscale, self.depth),
            *(self.stack, self.frame_interval, self.frame_size),
        )

    def seen_by(self, frames: CameraSet) -> Task:
        """Return the task with other frames."""
        return dataclasses.replace(
            self,
            camera=frames.cameras[0] if len(frames.cameras) == 1 else frames.cameras or None,
            grayscale=not frames.rgb,
            depth=frames.depth,
            stack=frames.stack,
            frame_interval=frames.interval,
            frame_size=frames.size,
        )

    @property
    def judged_by_mode(self) -> bool:
        """Whether policies are evaluated by their mode instead of by samples.

        The paper samples in Procgen, where a deterministic policy can get stuck forever.
        """
        return self.suite != "procgen"

    @property
    def history(self) -> int:
        """Number of frames that a full stack reaches back."""
        return (self.stack - 1) * self.frame_interval

    @property
    def proprio_indices(self) -> np.ndarray:
        """Indices into the state, int64 (P,); empty without proprioception."""
        ranges = [np.arange(*bounds) for bounds in self.proprio]
        return np.concatenate([np.empty(0, np.int64), *ranges])
