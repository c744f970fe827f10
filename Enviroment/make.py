"""The only place where environments are made."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.drawing.gl import draws_on_gpu
from Enviroment.drawing.renderer import Quality, check_quality, find_body
from Enviroment.observations import STATE, observation_space, state_space
from Enviroment.simulation.part import Layout, make_simulation
from Enviroment.simulation.workers import WorkerKind, make_workers
from Enviroment.suites.envpool_env import EnvPoolVecEnv
from Enviroment.tasks import Task, get_task
from Enviroment.vector import MAX_DIVERGENCES, FrameVecEnv, StateVecEnv

_WORKER_TIMEOUT = 120.0  # seconds


def make_env(
    task: str | Task,
    n_envs: int,
    seed: int,
    *,
    quality: Quality = "fast",
    workers: WorkerKind = "thread",
    n_workers: int | None = None,
    blind: bool = False,
    stagger: bool = False,
    worker_timeout: float = _WORKER_TIMEOUT,
    max_divergences: int = MAX_DIVERGENCES,
) -> FrameVecEnv | EnvPoolVecEnv:
    """Environments that show frames, the robot's joints and the simulator's state.

    Games of EnvPool show frames alone. Of `quality`, `workers`, `stagger` and `max_divergences`
    they know nothing; `n_workers` are their threads.

    Args:
        task: its name, or a `Task`; `dataclasses.replace(task, frame_size=...)` changes the frames.
        n_envs: how many run side by side.
        seed: episode k of environment i is reset with `seed + k * n_envs + i`. It tells of games
            whether they train or are evaluated too (see `envpool_games`).
        quality: "fast" frames, or "reference" ones as Gymnasium draws them.
        workers: "thread"; "process" for machines with many cores; or "serial", for debugging.
            All yield the same numbers.
        n_workers: how many share the work. By default one per core at most, and one thread where a
            GPU draws.
        blind: frames are zero and nothing is drawn, to measure what seeing is worth.
        stagger: cut the first episodes short, so that environments are at different steps of
            theirs from then on. For training.
        worker_timeout: seconds after which a thread or process that gives no sign counts as hung.
            One that died, or that the system has stopped, is noticed within seconds anyway.
        max_divergences: how many diverged simulations of one environment are dropped and counted
            before the next one stops the run (see `SeededVecEnv`).

    Raises:
        UserError: an argument is out of range; the machine has no usable OpenGL; or EnvPool, or Qt
            for Procgen, is not installed.
    """
    check_quality(quality)
    if not worker_timeout > 0:
        raise UserError(f"`worker_timeout` {worker_timeout:g}: give more than 0 seconds.")
    task = _checked_task(task, n_envs, seed, max_divergences)
    if task.is_game:
        n_threads = _worker_count(n_workers, n_envs)
        return EnvPoolVecEnv(task, n_envs, seed, n_threads, blind, worker_timeout)
    layout, action_space = _plan(task, n_envs, None if blind else quality)
    # Threads that draw by one GPU driver wait for its lock: on an H100 one thread is five to
    # thirteen times as fast as sixteen.
    if n_workers is None and workers == "thread" and not blind and draws_on_gpu():
        n_workers = 1
    pool = make_workers(workers, layout, _worker_count(n_workers, n_envs), worker_timeout)
    space = observation_space(task, layout.state_dim)
    return FrameVecEnv(task, pool, space, action_space, seed, stagger, max_divergences, blind)


def make_state_env(
    task: str | Task,
    n_envs: int,
    seed: int,
    *,
    grouped: bool = False,
    workers: WorkerKind = "serial",
    n_workers: int | None = None,
    stagger: bool = False,
    max_divergences: int = MAX_DIVERGENCES,
) -> StateVecEnv:
    """Environments that show the simulator's state only. Nothing is drawn.

    Args:
        grouped: observations are dictionaries with the one group `state`, for students; off: the
            state itself, for teachers.
        workers: "serial", because a step without a frame is mostly Python, which threads cannot
            share; "process" for environments whose steps take longer than a pipe's answer.

    The other args and raises: as `make_env`, with the same episodes for the same seeds.
    """
    task = _checked_task(task, n_envs, seed, max_divergences)
    if task.is_game:
        raise UserError(f"{task.name} is a game without a state: make_env shows its frames.")
    layout, action_space = _plan(task, n_envs, None)
    pool = make_workers(workers, layout, _worker_count(n_workers, n_envs), _WORKER_TIMEOUT)
    space = state_space(layout.state_dim)
    observations = spaces.Dict({STATE: space}) if grouped else space
    return StateVecEnv(task, pool, observations, action_space, seed, stagger, max_divergences)


def _checked_task(task: str | Task, n_envs: int, seed: int, max_divergences: int) -> Task:
    """The task itself, once what holds for every simulator is checked."""
    task = get_task(task) if isinstance(task, str) else task
    if n_envs < 1:
        raise UserError(f"`n_envs` {n_envs}: at least one environment is needed.")
    if seed < 0:
        raise UserError(f"Seed {seed}: seeds start at 0.")
    if max_divergences < 0:
        raise UserError(f"`max_divergences` {max_divergences}: give 0 or more.")
    return task


def _plan(task: Task, n_envs: int, quality: Quality | None) -> tuple[Layout, spaces.Space]:
    """Read the sizes off one of the task's environments, and check that they are usable."""
    with contextlib.closing(make_simulation(task)) as probe:
        observations, actions = probe.observation_space, probe.action_space
        if quality is not None:
            _check_visible(task, probe)
    if not isinstance(observations, spaces.Box):
        raise UserError(
            f"Task {task.name}: the observations of {task.env_id} are {observations}. A state is a "
            "list of numbers: make one by a wrapper, such as Gymnasium's FlattenObservation."
        )
    _check_actions(task, actions)
    if len(observations.shape) != 1:
        raise UserError(
            f"Task {task.name}: the observations of {task.env_id} have the shape "
            f"{observations.shape}. A state is a list of numbers: flatten it by a wrapper, such as "
            "Gymnasium's FlattenObservation."
        )
    (state_dim,) = observations.shape
    _check_proprio(task, state_dim)
    layout = Layout(
        # The package is imported by now; a worker process has to do so, too.
        task=dataclasses.replace(task, described=False),
        n_envs=n_envs,
        state_dim=state_dim,
        action_shape=actions.shape or (),
        action_dtype=np.dtype(actions.dtype),  # pyright: ignore[reportArgumentType]
        quality=quality,
    )
    return layout, actions


def _check_actions(task: Task, space: spaces.Space) -> None:
    """Raises UserError where no student has a distribution of such actions."""
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} are {space}. Students act in "
            f"{', '.join(kind.__name__ for kind in kinds)}."
        )
    if isinstance(space, spaces.Box) and not space.is_bounded():
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} have no bounds, and Stable-Baselines3 "
            "needs some. Give its action space the bounds within which a policy is to act."
        )
    starts = np.asarray(getattr(space, "start", 0))
    if starts.any():
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} start at {starts.tolist()}, and "
            "students count from 0. Shift them by a wrapper (Gymnasium's TransformAction)."
        )


def _check_visible(task: Task, env: gym.Env) -> None:
    """Raises UserError where frames of this environment cannot be drawn."""
    if task.camera is None:
        raise UserError(
            f"Task {task.name} has no camera, so there are no frames to learn from. Give one by "
            "`camera` where there is that flag, or train a student of the state: `mode` State."
        )
    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
        raise UserError(
            f"Task {task.name}: {task.env_id} is no MuJoCo environment with a model (MjModel) and "
            "data (MjData), so its frames cannot be drawn. Train a student of the state: `mode` "
            "State."
        )
    if task.camera.track is not None:
        find_body(model, task.camera.track)


def _check_proprio(task: Task, state_dim: int) -> None:
    """Raises UserError where proprioception is no part of the state."""
    for first, end in task.proprio:
        if not 0 <= first < end <= state_dim:
            raise UserError(
                f"Task {task.name}: proprioception {first}:{end} is no range of the state of "
                f"{task.env_id}, which has the places 0 to {state_dim - 1}."
            )


def _worker_count(n_workers: int | None, n_envs: int) -> int:
    if n_workers is None:
        return min(n_envs, _available_cores())
    if not 1 <= n_workers <= n_envs:
        raise UserError(f"`n_workers` {n_workers}: give 1 to {n_envs}, the number of environments.")
    return n_workers


def _available_cores() -> int:
    """Cores that this process may use: in a container often fewer than the machine has."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
