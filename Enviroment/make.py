"""Make the environments of a task: `make_env` with frames, `make_state_env` without."""

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
from Enviroment.drawing.env_view import check_cameras
from Enviroment.drawing.gl import draws_on_gpu
from Enviroment.drawing.renderer import Quality, check_quality
from Enviroment.observations import STATE, observation_space, state_space
from Enviroment.simulation.part import Layout, make_simulation
from Enviroment.simulation.workers import WorkerKind, make_workers
from Enviroment.suites.envpool_env import EnvPoolVecEnv
from Enviroment.task import RECORDED
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
    """Return environments with observations of frames, the robot's joints and the state.

    Games of EnvPool return frames only. They ignore `quality`, `workers`, `stagger` and
    `max_divergences`; `n_workers` is their number of threads.

    Args:
        task: a name, or a `Task`; `dataclasses.replace(task, frame_size=...)` changes the frames.
        n_envs: number of parallel environments.
        seed: episode k of environment i is reset with `seed + k * n_envs + i`. For games, the seed
            also selects the rules of training or evaluation (see `envpool_games`).
        quality: "fast" frames, or "reference" frames as Gymnasium renders them.
        workers: "thread"; "process" for machines with many cores; or "serial", for debugging.
            All return the same numbers.
        n_workers: number of workers; by default one per core, at most `n_envs`, and one thread if
            a GPU renders.
        blind: return zero frames and render nothing, to measure the value of vision.
        stagger: shorten the first episodes, so that the environments are at different steps of
            their episodes from then on. For training.
        worker_timeout: seconds without a sign of life after which a thread or process counts as
            hung. A worker that died or was stopped by the system is noticed within seconds.
        max_divergences: number of diverged simulations per environment that are dropped and
            counted; the next one stops the run (see `SeededVecEnv`).

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
    # Threads that render on one GPU wait for the driver's lock: on an H100 one thread is five to
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
    """Return environments whose observation is the simulator's state. Nothing is rendered.

    Args:
        grouped: return dictionaries with the group `state`, for students, instead of the state
            itself, for teachers.
        workers: "serial", because a step without a frame is mostly Python code, which threads
            cannot run in parallel; "process" for environments whose steps take longer than a
            round trip through a pipe.

    Other arguments and errors are those of `make_env`. Equal seeds give equal episodes.
    """
    task = _checked_task(task, n_envs, seed, max_divergences)
    if task.is_game:
        raise UserError(f"{task.name} is a game without a state: make_env returns its frames.")
    layout, action_space = _plan(task, n_envs, None)
    pool = make_workers(workers, layout, _worker_count(n_workers, n_envs), _WORKER_TIMEOUT)
    space = state_space(layout.state_dim)
    observations = spaces.Dict({STATE: space}) if grouped else space
    return StateVecEnv(task, pool, observations, action_space, seed, stagger, max_divergences)


def _checked_task(task: str | Task, n_envs: int, seed: int, max_divergences: int) -> Task:
    """Return the task. Check the arguments that all simulators share."""
    task = get_task(task) if isinstance(task, str) else task
    if task.env_id == RECORDED:
        raise UserError(f"{task.name} is known from recordings only: it has no environment.")
    if n_envs < 1:
        raise UserError(f"`n_envs` {n_envs}: at least one environment is needed.")
    if seed < 0:
        raise UserError(f"Seed {seed}: seeds start at 0.")
    if max_divergences < 0:
        raise UserError(f"`max_divergences` {max_divergences}: give 0 or more.")
    return task


def _plan(task: Task, n_envs: int, quality: Quality | None) -> tuple[Layout, spaces.Space]:
    """Make one environment of the task, check its spaces, and return their sizes."""
    with contextlib.closing(make_simulation(task)) as probe:
        observations, actions = probe.observation_space, probe.action_space
        if quality is not None:
            _check_visible(task, probe)
    if not isinstance(observations, spaces.Box):
        raise UserError(
            f"Task {task.name}: the observations of {task.env_id} are {observations}. A state is a "
            "vector: convert them by a wrapper, such as Gymnasium's FlattenObservation."
        )
    _check_actions(task, actions)
    if len(observations.shape) != 1:
        raise UserError(
            f"Task {task.name}: the observations of {task.env_id} have the shape "
            f"{observations.shape}. A state is a vector: flatten them by a wrapper, such as "
            "Gymnasium's FlattenObservation."
        )
    (state_dim,) = observations.shape
    _check_proprio(task, state_dim)
    layout = Layout(
        # The package is imported by now; a worker process has to import it too.
        task=dataclasses.replace(task, described=False),
        n_envs=n_envs,
        state_dim=state_dim,
        action_shape=actions.shape or (),
        action_dtype=np.dtype(actions.dtype),  # pyright: ignore[reportArgumentType]
        quality=quality,
    )
    return layout, actions


def _check_actions(task: Task, space: spaces.Space) -> None:
    """Raise UserError unless a student can have a distribution over the actions."""
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} are {space}. Students act in "
            f"{', '.join(kind.__name__ for kind in kinds)}."
        )
    if isinstance(space, spaces.Box) and not space.is_bounded():
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} have no bounds, but Stable-Baselines3 "
            "requires them. Give the action space finite bounds."
        )
    starts = np.asarray(getattr(space, "start", 0))
    if starts.any():
        raise UserError(
            f"Task {task.name}: the actions of {task.env_id} start at {starts.tolist()}, but "
            "students count from 0. Shift them by a wrapper (Gymnasium's TransformAction)."
        )


def _check_visible(task: Task, env: gym.Env) -> None:
    """Raise UserError if frames of this environment cannot be rendered."""
    if not task.cameras:
        raise UserError(
            f"Task {task.name} has no camera, so there are no frames to learn from. Set `camera` "
            "if the command has that flag, or train a student of the state: `mode` State."
        )
    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
        raise UserError(
            f"Task {task.name}: {task.env_id} is not a MuJoCo environment with a model (MjModel) "
            "and data (MjData), so its frames cannot be rendered. Train a student of the state: "
            "`mode` State."
        )
    check_cameras(task.cameras, model)


def _check_proprio(task: Task, state_dim: int) -> None:
    """Raise UserError if proprioception is not a part of the state."""
    for first, end in task.proprio:
        if not 0 <= first < end <= state_dim:
            raise UserError(
                f"Task {task.name}: proprioception {first}:{end} is not a range of the state of "
                f"{task.env_id}, which has the indices 0 to {state_dim - 1}."
            )


def _worker_count(n_workers: int | None, n_envs: int) -> int:
    if n_workers is None:
        return min(n_envs, _available_cores())
    if not 1 <= n_workers <= n_envs:
        raise UserError(f"`n_workers` {n_workers}: give 1 to {n_envs}, the number of environments.")
    return n_workers


def _available_cores() -> int:
    """Return the number of cores that this process may use, often fewer in a container."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
