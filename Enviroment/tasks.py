"""The registry of tasks.

To add a task, add an entry here, or pass a `Task` of your own. No other code changes.
"""

from __future__ import annotations

from Common.errors import UserError
from Common.names import nearest
from Enviroment.suites.envpool_tasks import ATARI_TASKS, PROCGEN_TASKS
from Enviroment.suites.mujoco_tasks import HOPPER_TASKS, MUJOCO_TASKS
from Enviroment.task import Camera, Distance, Task

__all__ = ["TASKS", "Camera", "Distance", "Task", "get_task", "script_of"]

_ARM_TASKS = (
    # State (23): qpos 7, qvel 7, fingertip 3, object 3, goal 3. The positions of object and goal
    # must come from the frames: with them in proprio a student would not need vision.
    Task(
        name="Pusher",
        env_id="Pusher-v5",
        # From above, no wider than the table: the object is 6 pixels wide at 48 rows. From 2.5 m
        # it would be 2; the original toolkit renders 480 rows and crops them.
        camera=Camera(distance=1.15, lookat=(0.4, -0.18, -0.275), azimuth=270, elevation=-90),
        proprio=((0, 17),),
        distance=Distance("object_goal_distance", (17, 19), (20, 22), success_below=0.05),
        frame_size=(48, 48),
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

TASKS = {
    task.name: task
    for task in (*_ARM_TASKS, *MUJOCO_TASKS, *HOPPER_TASKS, *ATARI_TASKS, *PROCGEN_TASKS)
}


def get_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        UserError: the name is unknown. The message lists similar names.
    """
    if name in TASKS:
        return TASKS[name]
    raise UserError(f"There is no task {name!r:.80}. Did you mean {nearest(name, TASKS)}?")


def script_of(task: str | Task) -> str:
    """Return the script and arguments after `python Distillation/` for a task or its name.

    Tasks outside the registry run with `Custom.py`.
    """
    name = task if isinstance(task, str) else task.name
    if name in TASKS:
        return TASKS[name].script
    return f"Custom.py --env_id {'ID' if isinstance(task, str) else task.env_id}"
