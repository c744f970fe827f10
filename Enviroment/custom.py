"""Make a task of a user's own Gymnasium environment, without any change to the toolkit.

`package:Id-v0` imports the package that registers the environment.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
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
from Enviroment.drawing.looks import LookRanges
from Enviroment.env_settings import FRAMES, parse_wrappers
from Enviroment.make import check_renders, check_resets
from Enviroment.simulation.making import make_environment
from Enviroment.state_layout import StateGroup, check_state, image_of, named_range, state_groups
from Enviroment.task import RECORDED, Task
from Enviroment.tasks import TASKS, get_task

CUSTOM_TASK = "custom_task"  # key of `describe_custom` in descriptions of runs and students

LOOKS = "looks"  # key of `describe_looks`

_FRAME_SIZE = (64, 64)
_SMALLEST = 16  # pixels, of a picture that is worth seeing; smaller ones are states


def custom_task(
    env_id: str,
    camera: str | None = None,
    proprio: str = "",
    *,
    frames: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    wrappers: Sequence[str] = (),
) -> Task:
    """Return the task of a Gymnasium environment.

    Args:
        env_id: an id for `gymnasium.make`.
        camera: text for `parse_cameras`; None for frames of another source, or none.
        proprio: text for `parse_ranges`.
        frames: one of `FRAMES`; None: `camera` if there is one, else the observation if it is a
            picture, else `env.render()` if the environment is not MuJoCo's and renders, else none.
        env_kwargs: arguments of the environment for `gymnasium.make`.
        max_episode_steps: replaces the registered time limit, in env steps.
        wrappers: package:Class of subclasses of `gymnasium.Wrapper`, innermost first.

    Raises:
        UserError: the environment does not exist or cannot be made, or a text is invalid.
    """
    if frames not in (None, *FRAMES):
        raise UserError(f"`frames` {frames!r:.40} is not one of {', '.join(FRAMES)}.")
    blind = dataclasses.replace(
        _blind_task(env_id),
        env_kwargs=dict(env_kwargs or {}),
        max_episode_steps=max_episode_steps,
        wrappers=tuple(wrappers),
    )
    with contextlib.closing(make_environment(blind)) as env:
        task = _with_frames(blind, env, camera, frames)
        if not task.has_state:
            if proprio:
                raise UserError(
                    f"{env_id} has no state for `proprio`: its observation is a picture, which is "
                    "the student's frame. Leave it out."
                )
            return task
        check_state(task, env.observation_space)
        groups = state_groups(env.observation_space)
    return dataclasses.replace(task, proprio=parse_ranges(proprio, groups))


def _with_frames(task: Task, env: gym.Env, camera: str | None, frames: str | None) -> Task:
    """Return the task with the given or default source of frames."""
    picture = image_of(env.observation_space)
    if camera is not None:
        if frames not in (None, "camera"):
            raise UserError(f"Give `camera` or `frames` {frames}: frames have one source.")
        cameras = parse_cameras(camera, _model_of(env, task.env_id))
        return task.seen_by(dataclasses.replace(task.camera_set, cameras=cameras))
    if frames == "camera":
        raise UserError("`frames` camera needs a `camera`, such as the name of a body to follow.")
    if frames == "observation" or (frames is None and picture and min(picture[:2]) >= _SMALLEST):
        if picture is None:
            raise UserError(
                f"`frames` observation: the observation of {task.source} is "
                f"{env.observation_space}, not a picture, uint8 (height, width, 1 or 3)."
            )
        h, w, channels = picture
        # As the teacher observes it: one picture, with its colours.
        shown: dict[str, Any] = {"frame_size": (h, w), "grayscale": channels == 1}
        return dataclasses.replace(task, frames="observation", stack=1, frame_interval=1, **shown)
    with_render = dataclasses.replace(task, frames="env")
    if frames == "env":
        check_renders(with_render)
        return with_render
    is_mujoco = isinstance(getattr(env.unwrapped, "model", None), mujoco.MjModel)
    if frames is None and not is_mujoco and _renders(with_render, env):
        return with_render
    return task


def _renders(task: Task, env: gym.Env) -> bool:
    """Return whether `env.render()` gives pictures, as the environment's metadata promise.

    Warn if they promise pictures, and there are none.

    Raises:
        UserError: a reset fails without pictures too, so that no student can learn.
    """
    if "rgb_array" not in ((env.metadata or {}).get("render_modes") or ()):
        return False
    try:
        check_renders(task)
    except UserError as error:
        check_resets(task, env)
        warnings.warn(f"{error}\nThere are no frames.", RuntimeWarning, stacklevel=4)
        return False
    return True


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
        raise UserError(
            f"`depth_range` {depth_range} has no effect without `depth`. Add it, or leave "
            "`depth_range` out."
        )
    if not task.has_state:
        _check_as_observed(task, changes, camera, depth)
    if camera is not None or depth:
        changes |= _drawn_by_model(task, camera, depth, depth_range)
    return task.seen_by(dataclasses.replace(task.camera_set, **changes))


def _drawn_by_model(
    task: Task, camera: str | None, depth: bool, depth_range: str | None
) -> dict[str, Any]:
    """Return the cameras and the range of depth, which depend on the environment's model."""
    with contextlib.closing(make_environment(task)) as env:
        model = _model_of(env, task.env_id)
    cameras = task.cameras if camera is None else parse_cameras(camera, model, task.cameras)
    if not depth:
        return {"cameras": cameras}
    if not cameras:
        raise UserError(f"`depth`: {task.name} has no camera. Give `camera`.")
    if depth_range is None:
        return {"cameras": cameras, "depth": default_depth_range(model, cameras)}
    return {"cameras": cameras, "depth": parse_depth_range(depth_range)}


def _check_as_observed(
    task: Task, changes: Mapping[str, Any], camera: str | None, depth: bool
) -> None:
    """Raise UserError for frames that the environment and its teacher do not have."""
    if camera is not None or depth:
        name = "depth" if depth else "camera"
        kind = "is a game, whose pictures" if task.is_game else "observes pictures, which"
        raise UserError(
            f"`{name}`: {task.name} {kind} come without cameras and depth. Leave it out."
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
            "them out, and use its own pictures (`frames` env), or train a student of the state: "
            "`mode` State."
        )
    return model


def parse_ranges(text: str, groups: Sequence[StateGroup] = ()) -> tuple[tuple[int, int], ...]:
    """Parse parts of the state: "0:17,20:22" -> ((0, 17), (20, 22)); "5" is 5:6; "" is none.

    Args:
        text: ranges of indices, or names of groups, separated by commas.
        groups: the named groups of the observation.

    Raises:
        UserError: the text is not a list of ranges and groups, or ranges overlap.
    """
    ranges: list[tuple[int, int]] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", part)
        if match is None and re.fullmatch(r"[A-Za-z_][\w.\-]*", part) and groups:
            ranges.append(named_range(groups, part))
            continue
        first = int(match[1]) if match else 0
        end = first + 1 if match is None or match[2] is None else int(match[2])
        if match is None or end <= first:
            raise UserError(
                f"`proprio` {text!r}: {part!r} is not a range of the state. Give first:end, "
                "without the end itself, such as 0:17 or 0:17,20:22, or names of groups of the "
                "observation."
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
    values = task.plain.as_json()
    del values["described"]
    return {CUSTOM_TASK: values}


def describe_task(task: Task, *, frames: bool = True) -> dict[str, Any]:
    """Return the description of a task in the bundle of a student, with which tools open it.

    Args:
        frames: whether the student observes frames; else how they are drawn is left out.
    """
    return {
        "task": task.name,
        **describe_custom(task),
        "frame_interval": task.frame_interval,
        **({"camera_set": task.camera_set.as_json()} if frames else {}),
        **describe_looks(task),
    }


def rules_of(task: Task) -> dict[str, Any]:
    """Return what makes the episodes of an own environment other than those of its id alone.

    Its arguments, wrappers and time limit, as plain JSON without those that are not set. Returns of
    the same policy under other rules cannot be compared.
    """
    if not task.custom:
        return {}
    values = task.plain.as_json()
    names = ("env_kwargs", "wrappers", "max_episode_steps")
    return {name: values[name] for name in names if values.get(name)}


def describe_looks(task: Task) -> dict[str, Any]:
    """Return the ranges of random looks for configurations, students and datasets, if any.

    They are no part of a task's own description, because evaluations of a student show the
    environment as it is.
    """
    return {LOOKS: task.looks.as_json()} if isinstance(task.looks, LookRanges) else {}


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


def with_package(task: Task, env_id: str | None, wrapper: str | None = None) -> Task:
    """Return the task of a file, and allow the import of its packages if the user names them too.

    Args:
        env_id: the id given on the command line; None: only imported packages are used.
        wrapper: the wrappers given on the command line, separated by commas. They may be left out
            if they are of Gymnasium or of the package of the id.

    Raises:
        UserError: the id or the wrappers are not those of the task.
    """
    if env_id not in (None, task.env_id):
        raise UserError(f"`env_id` {env_id} is not the environment of the task, {task.env_id}.")
    if wrapper is not None and parse_wrappers(wrapper) != task.wrappers:
        raise UserError(
            f"`wrapper` {wrapper} is not that of the task, {','.join(task.wrappers) or 'none'}."
        )
    named = (*(() if env_id is None else (env_id,)), *parse_wrappers(wrapper or ""))
    return dataclasses.replace(task, named=named)


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


def _blind_task(env_id: str) -> Task:
    return Task(
        name=env_id.rpartition(":")[2].replace("/", "_"),
        env_id=env_id,
        camera=None,
        proprio=(),
        distance=None,
        frame_size=_FRAME_SIZE,
        custom=True,
    )
