"""The MuJoCo suite of the PPD paper (Gymnasium's v5), and the Hoppers of the domain study.

Every state is Gymnasium's: positions except those in the plane, then velocities. Proprioception is
the output of joint encoders: angles and velocities. The position, orientation and velocity of the
torso are in the state only; the student must infer them from the camera.
"""

from __future__ import annotations

from Enviroment.task import Camera, Task

MUJOCO_TASKS = (
    # State (105): height, quaternion 4, joints 8; velocity 6, joints 8; contact forces 78.
    # To be seen: height and tilt of the torso, and its velocity by the floor that goes by.
    Task(
        name="Ant",
        env_id="Ant-v5",
        camera=Camera(3.4, (0.0, 0.0, 0.3), azimuth=90, elevation=-35, track="torso"),
        proprio=((5, 13), (19, 27)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
    # State (17): height, pitch, joints 6; velocity 3, joints 6.
    # To be seen: height and pitch of the torso, and its velocity by the floor that goes by.
    Task(
        name="HalfCheetah",
        env_id="HalfCheetah-v5",
        camera=Camera(2.3, (0.0, 0.0, 0.5), azimuth=90, elevation=-15, track="torso"),
        proprio=((2, 8), (11, 17)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
    # State (11): height, pitch, joints 3; velocity 3, joints 3.
    # To be seen: height and pitch of the torso (the episode ends beyond 0.2 rad), and its velocity.
    Task(
        name="Hopper",
        env_id="Hopper-v5",
        camera=Camera(2.2, (0.0, 0.0, 0.75), azimuth=90, elevation=-10, track="torso"),
        proprio=((2, 5), (8, 11)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
    # State (348): height, quaternion 4, joints 17; velocity 6, joints 17; then inertia 130,
    # velocities 78, actuator forces 17 and contact forces 78 of the links.
    # To be seen: height and tilt of the torso, and its velocity by the floor that goes by.
    Task(
        name="Humanoid",
        env_id="Humanoid-v5",
        camera=Camera(2.6, (0.0, 0.0, 0.9), azimuth=60, elevation=-15, track="torso"),
        proprio=((5, 22), (28, 45)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
    # State (8): heading, joints 2; velocity 3, joints 2.
    # To be seen: heading, and velocity by the floor that goes by.
    Task(
        name="Swimmer",
        env_id="Swimmer-v5",
        camera=Camera(4.0, (0.0, 0.0, 0.0), azimuth=90, elevation=-90, track="torso"),
        proprio=((1, 3), (6, 8)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
    # State (17): height, pitch, joints 6; velocity 3, joints 6.
    # To be seen: height and pitch of the torso (the episode ends beyond 1 rad), and its velocity.
    Task(
        name="Walker2d",
        env_id="Walker2d-v5",
        camera=Camera(2.4, (0.0, 0.0, 0.75), azimuth=90, elevation=-10, track="torso"),
        proprio=((2, 8), (11, 17)),
        distance=None,
        frame_size=(64, 64),
        suite="mujoco",
    ),
)


def _hopper(variant: str) -> Task:
    """Return a task of Hopper-v5 with other masses: the same state, camera and joints."""
    return Task(
        name=f"CustomHopper-{variant}",
        env_id=f"Enviroment.hopper:CustomHopper-{variant}-v0",
        camera=Camera(2.2, (0.0, 0.0, 0.75), azimuth=90, elevation=-10, track="torso"),
        proprio=((2, 5), (8, 11)),
        distance=None,
        frame_size=(64, 64),
        suite="hopper",
    )


HOPPER_TASKS = tuple(_hopper(variant) for variant in ("source", "target", "source-udr"))
