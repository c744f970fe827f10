"""How many env steps per second of its own time a task has."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib

import gymnasium as gym
import mujoco
import numpy as np

from Enviroment.simulation.making import make_simulation
from Enviroment.tasks import Task

_GAMES = {"atari": 60, "procgen": 15}  # at human speed
_UNKNOWN = 30  # if neither the environment nor its simulation has a clock


def steps_per_second(task: Task) -> float:
    """Return the env steps per second by `render_fps` or, without it, by the simulation's clock.

    Raises:
        UserError: the environment cannot be made.
    """
    if task.is_game:
        return _GAMES[task.suite]
    with contextlib.closing(make_simulation(task)) as env:
        fps = (env.metadata or {}).get("render_fps")
        return fps if isinstance(fps, int | float) and fps > 0 else _simulated(env)


def _simulated(env: gym.Env) -> float:
    """Measure env steps per second of simulated time, for environments without `render_fps`."""
    if not isinstance(getattr(env.unwrapped, "data", None), mujoco.MjData):
        return _UNKNOWN  # only MuJoCo's environments have a clock that is known here
    env.reset(seed=0)
    before = env.get_wrapper_attr("data").time
    env.step(np.zeros(env.action_space.shape or (), env.action_space.dtype))
    seconds = env.get_wrapper_attr("data").time - before
    if seconds <= 0:
        return _UNKNOWN
    rate = 1 / seconds
    return round(rate) if rate >= 1 else rate  # steps may last for seconds
