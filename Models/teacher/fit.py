"""Check that an agent fits its task, whose environment may not be installed."""

from __future__ import annotations

import contextlib
import re
import sys

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage

from Common.errors import UserError
from Enviroment.custom import named_task
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.making import make_environment
from Enviroment.task import Task
from Models.teacher.policy import Teacher

_VERSIONED = re.compile(r"(.+)-v(\d+)")


def check_task(teacher: Teacher, task: Task) -> None:
    """Compare the teacher's spaces with those of its task.

    If the environment cannot be made, print a note, and the newer version that has the teacher's
    spaces: a bundle can be made, copied and inspected without the environment.

    Raises:
        UserError: the spaces differ. The message shows both.
    """
    try:
        observations, actions = _spaces_of(task)
    except UserError as error:
        _print_note(f"{error}\nThe bundle has the spaces of the zip, which were not checked.")
        hint = _newer_version(teacher, task)
        if hint is not None:
            _print_note(hint)
        return
    teacher.check_fits(task.name, observations, actions)


def _print_note(text: str) -> None:
    print(f"Note: {text}", file=sys.stderr)


def _spaces_of(task: Task) -> tuple[spaces.Space, spaces.Space]:
    """Return the spaces of the task's environment, with images channels first as in SB3."""
    if not task.custom:
        env = (make_env if task.is_game else make_state_env)(task, 1, 0)
    else:
        env = make_environment(task)
    with contextlib.closing(env):  # pyright: ignore[reportArgumentType]
        return _channels_first(env.observation_space), env.action_space


def _channels_first(space: spaces.Space) -> spaces.Space:
    if isinstance(space, spaces.Dict):
        # Pairs keep their order.
        return spaces.Dict([(name, _channels_first(part)) for name, part in space.spaces.items()])
    if not isinstance(space, spaces.Box) or not is_image_space(space):
        return space
    if is_image_space_channels_first(space):
        return space
    return VecTransposeImage.transpose_space(space)


def _newer_version(teacher: Teacher, task: Task) -> str | None:
    """Return a hint about the newest version of the environment that the teacher may fit.

    Versions with other spaces are skipped. One that cannot be made is named only if no other fits.
    """
    match = _VERSIONED.fullmatch(task.env_id)
    if match is None:
        return None
    versions = {
        int(found[2]): name
        for name in gym.registry
        if (found := _VERSIONED.fullmatch(name)) and found[1] == match[1]
    }
    unknown = None
    for version in sorted(versions, reverse=True):
        if version <= int(match[2]):
            break
        newer = named_task(versions[version])
        advice = f"For a teacher of it, give --task {newer.name} and another --output."
        try:
            found = _spaces_of(newer)
        except UserError:
            unknown = unknown or (
                f"{newer.env_id} is newer, but cannot be made here to compare its spaces. {advice}"
            )
            continue
        with contextlib.suppress(UserError):
            teacher.description.check_spaces(*found)
            return f"{newer.env_id} has the same spaces. {advice}"
    return unknown
