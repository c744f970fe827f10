"""Notes on an environment before a run: source and speed of frames, seeds, length of episodes."""

from __future__ import annotations

import contextlib
import time

import gymnasium as gym
import numpy as np

from Enviroment.drawing.env_render import rendered
from Enviroment.simulation.making import limit_of, make_simulation
from Enviroment.task import Task

_SECONDS = 0.4  # of each measurement


def environment_notes(task: Task, *, sees: bool, round_steps: int | None = None) -> list[str]:
    """Return notes on the environment of a task, or an empty list.

    Args:
        sees: whether frames are used.
        round_steps: env steps of a DAgger round in each environment; None: there are no rounds.
    """
    if task.is_game or not (task.custom or round_steps):
        return []
    notes = []
    with contextlib.closing(make_simulation(task, renders=sees and task.frames == "env")) as env:
        limit = limit_of(env)
        if round_steps and limit and round_steps < limit:
            notes.append(
                f"Note: a DAgger round takes {round_steps} env steps in each environment, and "
                f"begins with a reset, but episodes of {task.name} have up to {limit}. If later "
                f"steps differ from the first {round_steps}, raise --round_env_steps, up to "
                f"{limit} times --num_envs."
            )
        if not task.custom:
            return notes
        if sees and task.frames == "env":
            notes.append(_on_frames(task, env))
        if not _is_seeded(env):
            notes.append(
                f"Note: two resets of {task.source} with the same seed differ, so its episodes "
                "cannot be repeated: figures on the same seeds are of other episodes each time, "
                "and a run that resumes, or a repaired dataset, is not the same bit-for-bit. Its "
                "`reset` should call `super().reset(seed=seed)` and draw from `self.np_random`."
            )
        if limit is None:
            notes.append(
                f"Note: {task.source} has no time limit of Gymnasium, so it must end its episodes "
                "itself. If it does not, give --max_episode_steps."
            )
    return notes


def _is_seeded(env: gym.Env) -> bool:
    """Return whether resets with the same seed give the same observation, up to rounding."""
    try:
        first, again = (np.asarray(env.reset(seed=0)[0], float) for _ in range(2))
        return np.allclose(first, again, equal_nan=True)
    except Exception:  # the run itself stops with an error that names the environment
        return True


def _on_frames(task: Task, env: gym.Env) -> str:
    env.reset(seed=0)
    height, width = rendered(env).shape[:2]
    with_frames, without = _steps_per_second(env, draws=True), _steps_per_second(env, draws=False)
    h, w = task.frame_size
    return (
        f"Frames of {task.source} are env.render(), {height}x{width} resized to {h}x{w}: "
        f"{with_frames:,.0f} env steps per second in one environment, {without:,.0f} without "
        "frames."
    )


def _steps_per_second(env: gym.Env, *, draws: bool) -> float:
    """Return the env steps per second with random actions."""
    env.action_space.seed(0)
    env.reset(seed=0)
    steps, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < _SECONDS:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if draws:
            env.render()
        if terminated or truncated:
            env.reset(seed=steps)
        steps += 1
    return steps / seconds
