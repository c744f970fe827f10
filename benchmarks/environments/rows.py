"""Environments that people bring: how each is seen and taught, declared once.

`make test-envs` tries each row, and the tables of docs/environments.md are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Packages = Literal["mujoco3", "robosuite", "bullet", "pusht", "minigrid", "box2d", "none"]
Teacher = Literal["sac", "ppo", "pictures"]  # pictures: an agent of SB3 that observes pictures


@dataclass(frozen=True)
class Row:
    """An environment with the flags that show it to a student and train its teacher."""

    name: str
    packages: Packages  # install/environments/<packages>.txt; none: those of the toolkit
    env_id: str
    teacher: Teacher
    sees: str  # what the frames are, for the table
    settings: tuple[str, ...] = ()  # arguments, wrappers, time limit
    frames: tuple[str, ...] = ()  # flags of the student's observations
    note: str = ""  # one sentence: what to know, or why no student was trained
    learned: str = ""  # its section in Results/Environments/README.md

    def __post_init__(self) -> None:
        if bool(self.note) == bool(self.learned):
            raise ValueError(f"{self.name} needs either a note or a result.")

    @property
    def environment(self) -> tuple[str, ...]:
        """Flags that define the environment, of both scripts."""
        return ("--env_id", self.env_id, *self.settings)


_ROBOTICS = "gymnasium_robotics:"
_ABOVE_TABLE = "x=0,y=0.65,z=0.15,distance=1.2,azimuth=-130,elevation=-30"
_GRID = "minigrid.wrappers:FullyObsWrapper,minigrid.wrappers:ImgObsWrapper"

ROWS = (
    Row(
        *("InvertedPendulum", "none", "InvertedPendulum-v5", "ppo"),
        "a camera that follows the cart; its position and velocity",
        frames=(
            *("--camera", "track=cart,z=0.25,distance=1.2,azimuth=90,elevation=0"),
            *("--proprio", "0,2", "--stack", "3", "--frame_interval", "1"),
        ),
        learned="InvertedPendulum",
    ),
    Row(
        *("FetchReach", "mujoco3", _ROBOTICS + "FetchReach-v4", "sac"),
        "two cameras in colour, one of which follows the gripper; the gripper",
        settings=("--max_episode_steps", "25"),
        frames=(
            "--camera",
            "external_camera_0,track=robot0:gripper_link,x=0,y=0,z=0.5,distance=0.7,azimuth=90,"
            "elevation=-20",
            *("--rgb", "--stack", "1", "--proprio", "observation"),
        ),
        learned="FetchReach",
    ),
    Row(
        *("FetchPush", "mujoco3", _ROBOTICS + "FetchPush-v4", "sac"),
        "a camera of the model in colour; the gripper",
        frames=(
            *("--camera", "external_camera_0", "--rgb"),
            *("--proprio", "6:9,15:17"),
        ),
        note="Not trained: a teacher is expected to need about a million env steps.",
    ),
    Row(
        *("AdroitHandDoor", "mujoco3", _ROBOTICS + "AdroitHandDoor-v1", "sac"),
        "a free camera; the joints of the hand",
        frames=(
            *("--camera", "x=0,y=-0.2,z=0.25,distance=1,azimuth=90,elevation=-20"),
            *("--proprio", "0:27"),
        ),
        note="Not trained: a teacher is expected to need demonstrations, or millions of env steps.",
    ),
    Row(
        *("PointMaze", "mujoco3", _ROBOTICS + "PointMaze_UMaze-v3", "sac"),
        "a free camera from above; the velocity",
        frames=(
            *("--camera", "x=0,y=0,z=0,distance=8,azimuth=90,elevation=-90"),
            *("--proprio", "6:8"),
        ),
        note="Its reward is sparse, and its success is that of the last step.",
    ),
    Row(
        *("dm_control reacher", "mujoco3", "shimmy:dm_control/reacher-easy-v0", "sac"),
        "`env.render()`; the joints",
        frames=("--proprio", "position,velocity"),
        note="Its model is not Gymnasium's, so frames come from its own renderer.",
    ),
    Row(
        *("dm_control cheetah", "mujoco3", "shimmy:dm_control/cheetah-run-v0", "sac"),
        "`env.render()`; the angles of the joints",
        frames=("--proprio", "2:8"),
        note="Not trained: a teacher is expected to need about a million env steps.",
    ),
    Row(
        *("Meta-World reach", "mujoco3", "metaworld:Meta-World/MT1", "sac"),
        "a free camera in colour; the hand and its gripper",
        settings=("--env_kwargs", "env_name=reach-v3"),
        frames=("--camera", _ABOVE_TABLE, "--rgb", "--proprio", "0:4"),
        note="The camera corner2 of its model is upside down, so this one is free.",
    ),
    Row(
        *("Meta-World push", "mujoco3", "metaworld:Meta-World/MT1", "sac"),
        "a free camera in colour; the hand and its gripper",
        settings=("--env_kwargs", "env_name=push-v3"),
        frames=("--camera", _ABOVE_TABLE, "--rgb", "--proprio", "0:4"),
        note="Not trained: a teacher is expected to need about a million env steps.",
    ),
    Row(
        *("robosuite Lift", "robosuite", "benchmarks.environments.robosuite_lift:Lift-v0", "sac"),
        "two cameras in colour, one of which is on the hand; the joints and the gripper",
        frames=("--camera", "agentview,robot0_eye_in_hand", "--rgb", "--proprio", "robot"),
        note="Of an agent that imitates a script and lifts the cube in 90% of 40 episodes, a "
        "student lifts it in all ([how](../Results/Environments/README.md#robosuite-lift)).",
    ),
    Row(
        *("panda-gym reach", "bullet", "panda_gym:PandaReach-v3", "sac"),
        "`env.render()` in colour; the gripper",
        settings=("--env_kwargs", "render_width=96", "render_height=96"),
        frames=("--rgb", "--proprio", "observation"),
        note="HER reaches 95% after 15,000 env steps; PyBullet draws too slowly for a student.",
    ),
    Row(
        *("gym-pusht", "pusht", "gym_pusht:gym_pusht/PushT-v0", "ppo"),
        "`env.render()` in colour; the position of the tip",
        frames=("--rgb", "--proprio", "0:2"),
        note="It is a benchmark of demonstrations; a teacher from rewards alone was not tried.",
    ),
    Row(
        *("MiniGrid", "minigrid", "minigrid:MiniGrid-Empty-Random-6x6-v0", "ppo"),
        "`env.render()` in colour",
        settings=("--wrapper", _GRID, "--env_kwargs", "tile_size=8", "highlight=false"),
        frames=("--rgb", "--stack", "1"),
        learned="MiniGrid",
    ),
    Row(
        *("CarRacing", "box2d", "CarRacing-v3", "pictures"),
        "the observation in colour",
        note="Not trained: an agent of its pictures is expected to need about a million env steps.",
    ),
    Row(
        *("LunarLander", "box2d", "LunarLander-v3", "ppo"),
        "`env.render()` in colour; its velocities, its angle and the contacts of its legs",
        frames=("--rgb", "--stack", "1", "--proprio", "2:8"),
        learned="LunarLander",
    ),
    Row(
        *("CartPole", "box2d", "CartPole-v1", "ppo"),
        "`env.render()`",
        frames=("--stack", "3", "--frame_interval", "1"),
        note="A student of 32x48 pixels had a return of 48; its pole is thin at that size.",
    ),
)
