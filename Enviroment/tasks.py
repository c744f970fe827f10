"""The tasks, as data. A new task is an entry in `TASKS`; no other code changes."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from Enviroment.errors import UserError


@dataclass(frozen=True)
class Camera:
    """MuJoCo's free camera (Gymnasium's `default_camera_config`)."""

    distance: float  # m
    lookat: tuple[float, float, float]  # m
    azimuth: float  # degrees
    elevation: float  # degrees


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
    env_id: str
    camera: Camera
    proprio: tuple[tuple[int, int], ...]  # ranges of the state that a robot's own joints give
    distance: Distance | None
    frame_size: tuple[int, int] = (64, 128)  # pixels, height and width
    grayscale: bool = True
    stack: int = 4  # frames an observation
    frame_interval: int = 2  # env steps between the frames of a stack

    def __post_init__(self) -> None:
        if min(self.frame_size) < 16 or max(self.frame_size) > 1024:
            raise UserError(
                f"--frame_size {self.frame_size[0]}x{self.frame_size[1]}: "
                "height and width must lie between 16 and 1024 pixels."
            )
        if self.stack < 1 or self.frame_interval < 1:
            raise UserError("A task needs a frame stack and a frame interval of at least 1.")

    @property
    def history(self) -> int:
        """How many frames back a full stack reaches."""
        return (self.stack - 1) * self.frame_interval

    @property
    def proprio_indices(self) -> np.ndarray:
        return np.concatenate([np.arange(*bounds) for bounds in self.proprio])


TASKS = {
    task.name: task
    for task in (
        # State (23): qpos 7, qvel 7, fingertip 3, object 3, goal 3. The object's and the goal's
        # place must come from the frames: with them in proprio a student could go blind.
        Task(
            name="Pusher",
            env_id="Pusher-v5",
            # From above, no wider than the table: an object 8 pixels across at 64 rows. From
            # 2.5 m it would be 2 or 3; the original toolkit draws 480 rows and cuts these out.
            camera=Camera(distance=1.15, lookat=(0.4, -0.18, -0.275), azimuth=270, elevation=-90),
            proprio=((0, 17),),
            distance=Distance("object_goal_distance", (17, 19), (20, 22), success_below=0.05),
            frame_size=(64, 64),
        ),
        # State (10): cos 2, sin 2, target 2, qvel 2, fingertip - target 2.
        Task(
            name="Reacher",
            env_id="Reacher-v5",
            camera=Camera(distance=0.56, lookat=(0.0, 0.0, 0.0), azimuth=90, elevation=-90),
            proprio=((0, 4), (6, 8)),
            distance=Distance("fingertip_target_distance", (8, 10), None, success_below=0.02),
            frame_size=(64, 64),
        ),
    )
}


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: there is none; the nearest names are listed.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.3) or sorted(TASKS)
    raise UserError(f"There is no task {name!r}. Did you mean {' or '.join(near)}?")
