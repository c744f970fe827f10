"""Make the environments of a task: `make_env` with frames, `make_state_env` without."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import math

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

from Common.cores import available_cores
from Common.errors import UserError
from Enviroment.drawing.env_render import rendered
from Enviroment.drawing.env_view import check_cameras
from Enviroment.drawing.gl import draws_on_gpu
from Enviroment.drawing.renderer import Quality, check_quality
from Enviroment.observations import STATE, observation_space, state_space
from Enviroment.simulation.making import (
    LONGEST_EPISODE,
    limit_of,
    make_environment,
    make_simulation,
)
from Enviroment.simulation.part import Layout
from Enviroment.simulation.workers import WorkerKind, make_workers
from Enviroment.state_layout import image_of
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
    on_gpu = bool(task.cameras) and not blind and draws_on_gpu()
    if n_workers is None and workers == "thread" and on_gpu:
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
    if not task.has_state:
        raise UserError(f"{task.name} has no state, only frames: make_env returns them.")
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
    draws = quality is not None
    with contextlib.closing(make_simulation(task, renders=draws and task.frames == "env")) as probe:
        observations, actions = probe.observation_space, probe.action_space
        if draws:
            _check_visible(task, probe)
        limit = limit_of(probe)
    _check_actions(task, actions)
    state_dim = math.prod(observations.shape or ()) if task.has_state else 0
    _check_proprio(task, state_dim)
    layout = Layout(
        # The package is imported by now; a worker process has to import it too.
        task=dataclasses.replace(task, described=False),
        n_envs=n_envs,
        state_dim=state_dim,
        action_shape=actions.shape or (),
        action_dtype=_action_dtype(actions),
        quality=quality,
        max_steps=LONGEST_EPISODE if limit is None else None,
    )
    return layout, actions


def _action_dtype(space: spaces.Space) -> np.dtype:
    """Return the type in which an environment receives its actions.

    A box of integers receives floats, as from Stable-Baselines3, which does not round them.
    """
    dtype = np.dtype(space.dtype)
    is_box = isinstance(space, spaces.Box)
    return np.dtype(np.float32) if is_box and dtype.kind in "iub" else dtype


def _check_actions(task: Task, space: spaces.Space) -> None:
    """Raise UserError unless a student can have a distribution over the actions."""
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise UserError(
            f"Task {task.name}: the actions of {task.source} are {space}. Students act in "
            f"{', '.join(kind.__name__ for kind in kinds)}."
        )
    if isinstance(space, spaces.Box) and not space.is_bounded():
        raise UserError(
            f"Task {task.name}: the actions of {task.source} have no bounds, but "
            "Stable-Baselines3 requires them. Give the action space finite bounds, "
            "for example by a wrapper."
        )
    starts = np.asarray(getattr(space, "start", 0))
    if starts.any():
        raise UserError(
            f"Task {task.name}: the actions of {task.source} start at {starts.tolist()}, but "
            "policies count from 0. Shift them by a wrapper (Gymnasium's TransformAction)."
        )


def _check_visible(task: Task, env: gym.Env) -> None:
    """Raise UserError if frames of this environment cannot be rendered."""
    if not task.has_frames:
        raise UserError(
            f"Task {task.name} has no camera, so there are no frames to learn from. Set `camera` "
            "or `frames` env if the command has these flags, or train a student of the state: "
            "`mode` State."
        )
    if task.frames == "env":
        _check_renders(task, env)
    if task.frames == "observation" and image_of(env.observation_space) is None:
        raise UserError(
            f"Task {task.name}: the observation of {task.source} is {env.observation_space}, not "
            "a picture, uint8 (height, width, 1 or 3)."
        )
    if not task.cameras:
        return
    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
        raise UserError(
            f"Task {task.name}: {task.env_id} is not a MuJoCo environment with a model (MjModel) "
            "and data (MjData), so a camera cannot show it. Use its own pictures (`frames` env), "
            "or train a student of the state: `mode` State."
        )
    check_cameras(task.cameras, model)


def check_renders(task: Task) -> None:
    """Check that `env.render()` gives pictures.

    Raises:
        UserError: it fails, or returns anything else.
    """
    with contextlib.closing(make_environment(task, renders=True)) as env:
        _check_renders(task, env)


def check_resets(task: Task, env: gym.Env) -> None:
    """Raise UserError if the environment's own reset fails."""
    try:
        env.reset(seed=0)
    except Exception as error:  # the environment's own code may raise anything
        raise UserError(
            f"Task {task.name}: env.reset() of {task.source} fails, so it cannot be used. Its "
            f"error:\n  {type(error).__name__}: {error}"
        ) from error


def _check_renders(task: Task, env: gym.Env) -> None:
    call = "reset"
    try:
        env.reset(seed=0)
        call = "render"
        rendered(env)
    except UserError:
        raise
    except Exception as error:  # the environment's own code may raise anything
        raise UserError(
            f"Task {task.name}: env.{call}() of {task.source} fails, so it gives no frames. Its "
            f"error:\n  {type(error).__name__}: {error}"
        ) from error


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
        return min(n_envs, available_cores())
    if not 1 <= n_workers <= n_envs:
        raise UserError(f"`n_workers` {n_workers}: give 1 to {n_envs}, the number of environments.")
    return n_workers
