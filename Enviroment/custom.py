"""Make a task of a user's own Gymnasium environment, without any change to the toolkit.

`package:Id-v0` imports the package that registers the environment.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from Common.errors import UserError
from Common.files.typed_json import typed
from Enviroment.drawing.renderer import find_body
from Enviroment.simulation.part import make_simulation
from Enviroment.simulation.snapshots import find_time_limit
from Enviroment.task import RECORDED, Camera, Task
from Enviroment.tasks import TASKS, get_task

CUSTOM_TASK = "custom_task"  # key of `describe_custom` in descriptions of runs and students

_FRAME_SIZE = (64, 64)
_AZIMUTH, _ELEVATION = 90.0, -20.0  # degrees, from the side and a little from above
_NUMBERS = ("distance", "x", "y", "z", "azimuth", "elevation")


def custom_task(env_id: str, camera: str | None = None, proprio: str = "") -> Task:
    """Return the task of a Gymnasium environment.

    Args:
        env_id: an id for `gymnasium.make`.
        camera: text for `parse_camera`; None for no frames.
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
        return dataclasses.replace(blind, camera=parse_camera(camera, _model_of(env, env_id)))


def _model_of(env: gym.Env, env_id: str) -> mujoco.MjModel:
    model = getattr(env.unwrapped, "model", None)
    if not isinstance(model, mujoco.MjModel):
        raise UserError(
            f"{env_id} is not a MuJoCo environment, so it cannot have a `camera`. Leave it out, "
            "and train a student of the state: `mode` State."
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


def parse_camera(text: str, model: mujoco.MjModel) -> Camera:
    """Return a camera from `key=value` pairs, in any order, separated by commas.

    Keys: distance, x, y, z (the point it looks at, in metres), azimuth, elevation (degrees) and
    track, the name of a body. Missing values are chosen so that the tracked body and its
    descendants fill the frame; without `track`, the whole scene except its floors. A single name is
    the body to track.

    Raises:
        UserError: the text is not a camera, or the model has no such body.
    """
    values = _camera_values(text)
    track = values.pop("track", None)
    centre, distance = default_view(model, None if track is None else find_body(model, track))
    numbers = {key: _number(text, key, value) for key, value in values.items()}
    if numbers.get("distance", 1.0) <= 0:
        raise UserError(f"`camera` {text!r}: the distance must be above 0.")
    return Camera(
        distance=numbers.get("distance", distance),
        lookat=tuple(numbers.get(key, centre[i]) for i, key in enumerate("xyz")),  # pyright: ignore[reportArgumentType]
        azimuth=numbers.get("azimuth", _AZIMUTH),
        elevation=numbers.get("elevation", _ELEVATION),
        track=track,
    )


def _camera_values(text: str) -> dict[str, str]:
    if "=" not in text and text.strip():
        return {"track": text.strip()}
    values: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value or key not in (*_NUMBERS, "track") or key in values:
            raise UserError(
                f"`camera` {text!r}: {part.strip()!r} is not valid. Give, each once, any of "
                f"{', '.join(f'{name}=NUMBER' for name in _NUMBERS)} and track=BODY, separated by "
                "commas; or only the name of a body."
            )
        values[key] = value
    return values


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"`camera` {text!r}: {key} {value!r} is not a number.")
    return number


def default_view(
    model: mujoco.MjModel, body: int | None
) -> tuple[tuple[float, float, float], float]:
    """Return a view that shows a body and its descendants, or the whole scene.

    Returns: lookat in metres, relative to the body in x and y if there is one; distance in metres.
    """
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    seen = model.geom_type != int(mujoco.mjtGeom.mjGEOM_PLANE)
    if body is not None:
        seen &= model.body_rootid[model.geom_bodyid] == model.body_rootid[body]
    if not seen.any():
        return (0.0, 0.0, 0.0), float(model.stat.extent)
    places, radii = data.geom_xpos[seen], model.geom_rbound[seen, None]
    low, high = (places - radii).min(axis=0), (places + radii).max(axis=0)
    centre = (low + high) / 2
    distance = np.linalg.norm(high - low) / 2 / math.sin(math.radians(model.vis.global_.fovy) / 2)
    if body is not None:
        centre[:2] = 0.0
    x, y, z = (round(float(value), 3) for value in centre)
    return (x, y, z), round(float(distance), 3)


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
