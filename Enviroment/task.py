"""The description of a task as data: environment, camera, observation groups, success."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from Common.errors import UserError
from Enviroment.cameras import AnyCamera, Camera, Cameras, CameraSet, DepthRange, as_tuple
from Enviroment.drawing.looks import EpisodeLooks

__all__ = ["SUITE_SCRIPTS", "Camera", "Distance", "Simulator", "Suite", "Task"]

Simulator = Literal["gymnasium", "envpool"]
# Source of a task's frames: our renderer (with a `camera`), `env.render()`, or an observation that
# is an image itself.
Frames = Literal["camera", "env", "observation"]
Suite = Literal["", "mujoco", "hopper", "atari", "procgen"]
FRAME, PROPRIO, STATE = "frame", "proprio", "state"  # observation groups

_ENV_ID = re.compile(r"(?:[A-Za-z_]\w*(?:\.\w+)*:)?[\w.-]+(?:/[\w.-]+)?")
_WRAPPER = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*")
_LONGEST_ID = 200
RECORDED = "recorded"  # in place of an id: the task is known from recordings only
_LONGEST_KWARGS, _MAX_WRAPPERS = 2**16, 16  # characters as JSON; number
# Arguments of `gymnasium.make` itself, which the toolkit sets.
_RESERVED = ("id", "render_mode", "max_episode_steps", "disable_env_checker", "vectorization_mode")
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
    # Older runs and datasets lack the following fields, and have the defaults (see `described`).
    frames: Frames = "camera"
    depth: DepthRange | None = None  # range of the depth channels; None: frames have no depth
    env_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)  # JSON; of gymnasium.make
    max_episode_steps: int | None = None  # env steps; None: as registered
    wrappers: tuple[str, ...] = ()  # package:Class of gymnasium.Wrapper, innermost first
    looks: EpisodeLooks | None = None  # of each episode; None: the environment's own
    # The task comes from a file, so making its environment imports no package for it.
    described: bool = field(default=False, compare=False, repr=False)
    # Id and wrappers that the command line names too, which allows the import of their packages.
    named: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _ENV_ID.fullmatch(self.env_id) or len(self.env_id) > _LONGEST_ID:
            raise UserError(
                f"{self.env_id!r:.80} is not an environment id, such as Hopper-v5 or package:Id-v0."
            )
        self.camera_set  # noqa: B018 - raises if invalid
        if any(not 0 <= first < end <= _MAX_STATE for first, end in self.proprio):
            raise UserError(f"Proprioception {self.proprio!r:.80} is not a range of a state.")
        self._check_environment()

    def _check_environment(self) -> None:
        """Check the settings of a user's own environment."""
        if self.frames != "camera" and (self.cameras or self.is_game):
            raise UserError(
                f"`frames` {self.frames} and `camera` exclude each other: frames have one source. "
                "Leave out one of them."
            )
        if self.looks is not None and not self.cameras:
            kind = "a game's own" if self.is_game else "not drawn by a `camera`"
            raise UserError(
                f"`randomise_looks`: the frames of {self.name} are {kind}, so their looks cannot "
                "be changed. Leave it out."
            )
        if self.max_episode_steps is not None and not 1 <= self.max_episode_steps < 2**31:
            raise UserError(f"`max_episode_steps` {self.max_episode_steps} must be at least 1.")
        for name in self.wrappers:
            if not _WRAPPER.fullmatch(name) or len(name) > _LONGEST_ID:
                raise UserError(
                    f"`wrapper` {name!r:.80} is not package:Class, such as my_package:MyWrapper."
                )
        if len(self.wrappers) > _MAX_WRAPPERS:
            raise UserError(f"`wrapper`: give at most {_MAX_WRAPPERS}.")
        for name in self.env_kwargs:
            if not name.isidentifier() or name in _RESERVED:
                hint = " It has a flag of its own." if name == "max_episode_steps" else ""
                raise UserError(f"`env_kwargs`: {name!r:.80} cannot be set.{hint}")
        try:
            text = json.dumps(self.env_kwargs, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(
                f"`env_kwargs` {self.env_kwargs!r:.80} is not JSON: {error}."
            ) from error
        if len(text) > _LONGEST_KWARGS:
            raise UserError(f"`env_kwargs` has more than {_LONGEST_KWARGS} characters.")

    def as_json(self) -> dict[str, Any]:
        """Return all settings as plain JSON.

        Newer fields are left out if they have their defaults, so that runs and datasets of older
        versions still match.
        """
        values = json.loads(json.dumps(dataclasses.asdict(self)))  # tuples to lists
        del values["named"]
        for name, default in _NEWER.items():
            if values[name] == default:
                del values[name]
        return values

    @property
    def script(self) -> str:
        """Script and arguments after `python Distillation/` or `python Train_Teacher/`."""
        if self.custom:
            return f"Custom.py --env_id {self.env_id}"
        if self.suite:
            return f"{SUITE_SCRIPTS[self.suite]}.py --env {self.name}"
        return f"{self.name}.py"

    @property
    def source(self) -> str:
        """The environment and its wrappers, for messages."""
        wrapped = f" in {', '.join(self.wrappers)}" if self.wrappers else ""
        return self.env_id + wrapped

    @property
    def is_game(self) -> bool:
        """Whether the task is a game of EnvPool. Games have frames but no state."""
        return self.simulator == "envpool"

    @property
    def has_frames(self) -> bool:
        """Whether there are frames: from a game, a camera, `env.render()` or the observation."""
        return self.is_game or bool(self.cameras) or self.frames != "camera"

    @property
    def has_state(self) -> bool:
        """Whether there is a state besides the frames. Games and image observations have none."""
        return not self.is_game and self.frames != "observation"

    @property
    def cameras(self) -> tuple[AnyCamera, ...]:
        """The cameras of the frames; empty for frames of another source, or without frames."""
        return as_tuple(self.camera)

    @property
    def camera_set(self) -> CameraSet:
        """The cameras with the channels, stacking and size of the frames, as one value."""
        return CameraSet(
            *(self.cameras, not self.grayscale, self.depth),
            *(self.stack, self.frame_interval, self.frame_size),
        )

    @property
    def plain(self) -> Task:
        """The task with the looks of its environment, as in evaluations."""
        return dataclasses.replace(self, looks=None)

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


# Defaults of the fields that older runs and datasets lack, as JSON.
_NEWER = {
    "frames": "camera",
    "depth": None,
    "env_kwargs": {},
    "max_episode_steps": None,
    "wrappers": [],
    "looks": None,
}
