"""Make a task of a user's own Gymnasium environment, without any change to the toolkit.

`package:Id-v0` imports the package that registers the environment.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import mujoco

from Common.errors import UserError
from Common.files.typed_json import typed
from Enviroment.drawing.camera_text import (
    default_depth_range,
    parse_cameras,
    parse_depth_range,
)
from Enviroment.simulation.part import make_simulation
from Enviroment.simulation.snapshots import find_time_limit
from Enviroment.task import RECORDED, Task
from Enviroment.tasks import TASKS, get_task

CUSTOM_TASK = "custom_task"  # key of `describe_custom` in descriptions of runs and students

_FRAME_SIZE = (64, 64)


def custom_task(env_id: str, camera: str | None = None, proprio: str = "") -> Task:
    """Return the task of a Gymnasium environment.

    Args:
        env_id: an id for `gymnasium.make`.
        camera: text for `parse_cameras`; None for no frames.
        proprio: text for `parse_ranges`.

    Raises:
        UserError: the environment does not exist or has no time limit, or a text is invalid.
    """
    blind = _blind_task(env_id, proprio)
    with contextlib.closing(make_simulation(blind)) as env:
        if find_time_limit(env) is None:
            raise UserError(
                f"{env_id} has no time limit, so an episode may never end. Register it with "
                "max_episode_steps."
            )
        if camera is None:
            return blind
        cameras = parse_cameras(camera, _model_of(env, env_id))
        return blind.seen_by(dataclasses.replace(blind.camera_set, cameras=cameras))


def with_frames(
    task: Task,
    *,
    camera: str | None = None,
    rgb: bool = False,
    depth: bool = False,
    depth_range: str | None = None,
    stack: int | None = None,
    frame_interval: int | None = None,
    frame_size: tuple[int, int] | None = None,
) -> Task:
    """Return a task with other frames. What is not given stays as it is.

    Args:
        camera: text for `parse_cameras`, where `default` is the task's own camera.
        rgb: draw red, green and blue instead of gray.
        depth: add a channel of depth to each camera.
        depth_range: text NEAR:FAR in metres; default: `default_depth_range` of the model.
        stack: time steps per observation.
        frame_interval: env steps between them.
        frame_size: height and width in pixels.

    Raises:
        UserError: the task has no such camera, or cannot have such frames.
    """
    changes: dict[str, Any] = {"rgb": True} if rgb else {}
    given = {"stack": stack, "interval": frame_interval, "size": frame_size}
    changes |= {name: value for name, value in given.items() if value is not None}
    if depth_range is not None and not depth:
        raise UserError(f"`depth_range` {depth_range} is of no use without `depth`.")
    if task.is_game:
        _check_game(task, changes, camera, depth)
    if camera is not None or depth:
        changes |= _drawn_by_model(task, camera, depth, depth_range)
    return task.seen_by(dataclasses.replace(task.camera_set, **changes))


def _drawn_by_model(
    task: Task, camera: str | None, depth: bool, depth_range: str | None
) -> dict[str, Any]:
    """Return the cameras and the range of depth, which depend on the environment's model."""
    with contextlib.closing(make_simulation(task)) as env:
        model = _model_of(env, task.env_id)
    cameras = task.cameras if camera is None else parse_cameras(camera, model, task.cameras)
    if not depth:
        return {"cameras": cameras}
    if not cameras:
        raise UserError(f"`depth`: {task.name} has no camera. Give `camera`.")
    if depth_range is None:
        return {"cameras": cameras, "depth": default_depth_range(model, cameras)}
    return {"cameras": cameras, "depth": parse_depth_range(depth_range)}


def _check_game(task: Task, changes: Mapping[str, Any], camera: str | None, depth: bool) -> None:
    """Raise UserError for frames that a game does not have, or that its teacher does not see."""
    if camera is not None or depth:
        name = "depth" if depth else "camera"
        raise UserError(
            f"`{name}`: {task.name} is a game, whose pictures come without cameras and depth. "
            "Leave it out."
        )
    now = task.camera_set
    for field, flag in (("rgb", "rgb"), ("stack", "stack"), ("interval", "frame_interval")):
        if changes.get(field, getattr(now, field)) != getattr(now, field):
            colour = "colour" if now.rgb else "gray"
            raise UserError(
                f"`{flag}`: the frames of {task.name} are {colour}, {now.stack} of them stacked "
                f"every {now.interval} env steps, as its teacher observes them. Leave it out."
            )


def _model_of(env: gym.Env, env_id: str) -> mujoco.MjModel:
    model = getattr(env.unwrapped, "model", None)
    if not isinstance(model, mujoco.MjModel):
        raise UserError(
            f"{env_id} is not a MuJoCo environment, so it cannot have a `camera` or `depth`. Leave "
            "them out, and train a student of the state: `mode` State."
        )
    return model


def parse_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Parse ranges of the state: "0:17,20:22" -> ((0, 17), (20, 22)); "5" is 5:6; "" is none.

    Raises:
        UserError: the text is not a list of ranges, or ranges overlap.
    """
    ranges: list[tuple[int, int]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*(\d{1,6})(?::(\d{1,6}))?\s*", part)
        first = int(match[1]) if match else 0
        end = first + 1 if match is None or match[2] is None else int(match[2])
        if match is None or end <= first:
            raise UserError(
                f"`proprio` {text!r}: {part!r} is not a range of the state. Give first:end, "
                "without the end itself, such as 0:17 or 0:17,20:22."
            )
        ranges.append((first, end))
    flat = [i for bounds in ranges for i in range(*bounds)]
    if len(set(flat)) < len(flat):
        raise UserError(f"`proprio` {text!r}: its ranges overlap.")
    return tuple(ranges)


def recorded_task(name: str, proprio_dim: int, frame_size: tuple[int, int], **frames: Any) -> Task:
    """Return a task without an environment: the observations of a robot, known from recordings.

    Args:
        frames: `grayscale`, `stack` and `frame_interval` of `Task`.
    """
    proprio = ((0, proprio_dim),) if proprio_dim else ()
    return Task(name, RECORDED, None, proprio, None, frame_size, custom=True, **frames)


def describe_custom(task: Task) -> dict[str, Any]:
    """Return the description of a task outside the registry for configurations and students."""
    if not task.custom:
        return {}
    values = json.loads(json.dumps(dataclasses.asdict(task)))  # tuples to lists
    del values["described"]
    if task.depth is None:
        del values["depth"]  # older versions read the description, too
    return {CUSTOM_TASK: values}


def task_of(description: Mapping[str, Any]) -> Task:
    """Return the task of a run's configuration, or of a student's bundle.

    Raises:
        UserError: the task is unknown, or its description is invalid.
    """
    try:
        if CUSTOM_TASK not in description:
            return get_task(typed(str, description.get("task", ""), "task"))
        data = typed(dict[str, Any], description[CUSTOM_TASK], CUSTOM_TASK)
        task = typed(Task, {**data, "distance": None}, CUSTOM_TASK)
        if not re.fullmatch(r"\w[\w.+-]{0,199}", task.name):
            raise ValueError(f"{task.name!r:.80} is not a valid name of a task")
    except ValueError as error:
        raise UserError(f"The description of a task is invalid: {error}.") from error
    return dataclasses.replace(task, described=True)


def with_package(task: Task, env_id: str | None) -> Task:
    """Return the task of a file, and allow the import of its package if the user gives its id too.

    Args:
        env_id: the id given on the command line; None leaves the task unchanged.

    Raises:
        UserError: the id is not that of the task.
    """
    if env_id is None:
        return task
    if env_id != task.env_id:
        raise UserError(f"`env_id` {env_id} is not the environment of the task, {task.env_id}.")
    return dataclasses.replace(task, described=False)


def named_task(name: str) -> Task:
    """Return a task of the registry by its name or environment id, else one of a Gymnasium id.

    Do not check that the environment exists.

    Raises:
        UserError: it is neither the name of a task nor an id.
    """
    known = next((task for task in TASKS.values() if name == task.env_id), None)
    if known is not None:
        return known
    is_id = re.search(r"-v\d+$", name) or ":" in name or name in gym.registry
    return _blind_task(name) if is_id else get_task(name)


def _blind_task(env_id: str, proprio: str = "") -> Task:
    return Task(
        name=env_id.rpartition(":")[2].replace("/", "_"),
        env_id=env_id,
        camera=None,
        proprio=parse_ranges(proprio),
        distance=None,
        frame_size=_FRAME_SIZE,
        custom=True,
    )
