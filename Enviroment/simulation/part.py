"""A worker's share of a task's environments, and the arrays through which it reports.

This module imports no deep-learning library, so worker processes start quickly.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from Common.errors import UserError, WorkerError
from Enviroment.drawing.env_render import RenderedView, fit_into
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Quality, Renderer
from Enviroment.observations import frame_channels
from Enviroment.simulation.divergence import DivergenceWatch
from Enviroment.simulation.making import make_simulation
from Enviroment.simulation.snapshots import (
    Snapshot,
    find_time_limit,
    restore_snapshot,
    take_snapshot,
)
from Enviroment.success import read_success
from Enviroment.task import Task

UNKNOWN = -1  # in `Exchange.successes`


@dataclass(frozen=True)
class Layout:
    """Sizes of the arrays that the environments and the `VecEnv` exchange."""

    task: Task
    n_envs: int
    state_dim: int
    action_shape: tuple[int, ...]
    action_dtype: np.dtype
    quality: Quality | None  # None: nothing is rendered
    max_steps: int | None = None  # of an episode that no time limit ends; more are an error

    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Return shape and type of each array of `Exchange`."""
        frame = (frame_channels(self.task), *self.task.frame_size)
        n_drawn = 0 if self.quality is None else self.n_envs
        n = self.n_envs
        return {
            "actions": ((n, *self.action_shape), self.action_dtype),
            "seeds": ((n,), np.dtype(np.int64)),
            "rewards": ((n,), np.dtype(np.float64)),
            "terminated": ((n,), np.dtype(np.bool_)),
            "truncated": ((n,), np.dtype(np.bool_)),
            "diverged": ((n,), np.dtype(np.bool_)),
            "successes": ((n,), np.dtype(np.int8)),
            "busy": ((n,), np.dtype(np.int64)),
            "states": ((n, self.state_dim), np.dtype(np.float32)),
            "last_states": ((n, self.state_dim), np.dtype(np.float32)),
            "frames": ((n_drawn, *frame), np.dtype(np.uint8)),
            "last_frames": ((n_drawn, *frame), np.dtype(np.uint8)),
        }


class Exchange:
    """Arrays shared by workers and the `VecEnv`, one row per environment.

    actions, seeds: written by the `VecEnv`; the seeds are those of the next episodes.
    rewards, terminated, truncated: results of the last step.
    states, frames: current ones; after the end of an episode, from the start of the next.
    last_states, last_frames: from the end of the finished episode; stale in other rows.
    diverged: the simulation diverged in the last step, so its episode was truncated. Set by
        workers, cleared by the `VecEnv`. Such a step has no reward: `rewards` is stale.
    successes: what the info of the last step says of success: 1 or 0, or `UNKNOWN`.
    busy: in the first row of each worker, the row in progress. It outlives the worker, and so
        identifies the environment that killed it.
    """

    actions: np.ndarray
    seeds: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    diverged: np.ndarray
    successes: np.ndarray
    busy: np.ndarray
    states: np.ndarray
    last_states: np.ndarray
    frames: np.ndarray
    last_frames: np.ndarray

    def __init__(self, layout: Layout, memory: Any) -> None:
        """Lay the arrays out in `memory`, a buffer of `Exchange.size(layout)` bytes."""
        self.layout = layout
        start = 0
        for name, (shape, dtype) in layout.arrays().items():
            count = int(np.prod(shape))
            setattr(self, name, np.frombuffer(memory, dtype, count, start).reshape(shape))
            start += _padded(count * dtype.itemsize)

    @staticmethod
    def size(layout: Layout) -> int:
        """Return the size of the arrays in bytes."""
        return sum(
            _padded(int(np.prod(shape)) * dtype.itemsize)
            for shape, dtype in layout.arrays().values()
        )


def _padded(n_bytes: int) -> int:
    """Round up to whole cache lines, so that each array starts on one."""
    return -(-n_bytes // 64) * 64


class Part:
    """A worker's share of the environments. Made, used and closed in one thread."""

    def __init__(self, layout: Layout, rows: range, exchange: Exchange) -> None:
        task = layout.task
        self._task = task
        self._rows = rows
        self._exchange = exchange
        draws = layout.quality is not None
        self._envs = [make_simulation(task, renders=draws and task.frames == "env") for _ in rows]
        self._watches = [DivergenceWatch(env) for env in self._envs]
        self._episode_seeds: list[int | None] = [None] * len(rows)  # of the running episodes
        self._renderer = None
        # One per environment; empty if nothing is rendered, or frames are the observations.
        self._views: list[EnvView] | list[RenderedView] = []
        if layout.quality is not None and task.cameras:
            drawn = (*task.frame_size, layout.quality, task.grayscale, task.depth)
            self._renderer = Renderer(task.cameras, *drawn)
            self._views = [EnvView(env, self._renderer, task.looks) for env in self._envs]
        elif draws and task.frames == "env":
            shown = (task.frame_size, task.grayscale)
            self._views = [RenderedView(env, *shown) for env in self._envs]

    def reset(self) -> None:
        """Begin a new episode in every environment.

        Raises:
            WorkerError: an environment failed. The message names it.
        """
        self._each("reset", self._begin)

    def step(self) -> None:
        """Step every environment. If an episode ends, begin the next one.

        Raises:
            WorkerError: an environment failed. The message names it.
        """
        self._each("step", self._step)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        for env in self._envs:
            env.close()

    def get(self, row: int, name: str) -> Any:
        """Return an attribute of the environment in this row."""
        return self._env(row).get_wrapper_attr(name)

    def set(self, row: int, name: str, value: Any) -> None:
        """Set an attribute of the environment in this row."""
        self._env(row).set_wrapper_attr(name, value)
        self._expect_changes(row)

    def invoke(self, row: int, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a method of the environment in this row."""
        self._expect_changes(row)
        return self._env(row).get_wrapper_attr(name)(*args, **kwargs)

    def shorten_episode(self, row: int, share: float) -> bool:
        """Shorten the running episode to a share of its time limit, by advancing its step counter.

        Returns:
            Whether there is a time limit. Other episodes end by themselves and are not shortened.
        """
        limit = find_time_limit(self._env(row))
        if limit is None:
            return False
        n_steps = limit._max_episode_steps
        limit._elapsed_steps = n_steps - max(1, round(share * n_steps))
        return True

    def snapshot(self, row: int) -> Snapshot:
        """Return the state of the environment in this row (see `take_snapshot`)."""
        seed = self._episode_seeds[row - self._rows.start]
        if seed is None:
            raise RuntimeError("Reset the environments before saving their state.")
        return take_snapshot(self._env(row), seed)

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Restore the environment in this row (see `restore_snapshot`)."""
        restore_snapshot(self._env(row), snapshot)
        self._episode_seeds[row - self._rows.start] = snapshot.episode_seed
        self._watches[row - self._rows.start].begin()
        self._begin_drawing(row, snapshot.episode_seed)

    def _env(self, row: int) -> gym.Env:
        return self._envs[row - self._rows.start]

    def _each(self, what: str, act: Callable[[int, gym.Env], None]) -> None:
        to = self._exchange
        for row, env in zip(self._rows, self._envs, strict=True):
            to.busy[self._rows.start] = row
            try:
                act(row, env)
            except UserError:
                raise
            except (Exception, SystemExit) as error:  # a thread that exits could not answer
                where = describe_environment(self._task, row)
                raise WorkerError(f"{where} failed in {what}: {_describe(error)}.") from error

    def _begin(self, row: int, env: gym.Env) -> None:
        seed = int(self._exchange.seeds[row])
        state, _ = env.reset(seed=seed)
        self._episode_seeds[row - self._rows.start] = seed
        self._watches[row - self._rows.start].begin()
        self._begin_drawing(row, seed)
        self._keep(row, state, self._exchange.states, self._exchange.frames)

    def _step(self, row: int, env: gym.Env) -> None:
        to, watch = self._exchange, self._watches[row - self._rows.start]
        # A copy, because an environment may keep its last action, and the next one is written here.
        state, reward, terminated, truncated, info = env.step(to.actions[row].copy())
        if watch.diverged(state):
            self._drop_episode(row, env)
            return
        if isinstance(reward, np.ndarray | list | tuple):  # as from vectorised code
            reward = _only_number(reward)
        to.rewards[row], to.terminated[row], to.truncated[row] = reward, terminated, truncated
        if not isinstance(info, Mapping):
            raise TypeError(f"the info of a step is {info!r:.40}, not a dictionary")
        success = read_success(info)
        to.successes[row] = UNKNOWN if success is None else success
        if terminated or truncated:
            self._keep(row, state, to.last_states, to.last_frames)
            self._begin(row, env)
        else:
            self._keep(row, state, to.states, to.frames)

    def _drop_episode(self, row: int, env: gym.Env) -> None:
        """End a diverged episode with its last valid observation."""
        to = self._exchange
        to.last_states[row] = to.states[row]
        if len(to.frames):
            to.last_frames[row] = to.frames[row]
        to.terminated[row], to.truncated[row], to.diverged[row] = False, True, True
        to.successes[row] = UNKNOWN
        self._begin(row, env)

    def _keep(
        self, row: int, observation: np.ndarray, states: np.ndarray, frames: np.ndarray
    ) -> None:
        """Write the observation of the environment in this row, and its frame if frames are drawn.

        Args:
            observation: the state, or the picture of a task without a state.
            states, frames: arrays of `Exchange`.
        """
        if self._task.has_state:
            if np.shape(observation) != states.shape[1:]:  # NumPy would broadcast a single number
                raise ValueError(
                    f"the observation has shape {np.shape(observation)}, but the observation space "
                    f"has {states.shape[1:]}"
                )
            states[row] = observation
        if not len(frames):
            return
        if self._views:
            self._views[row - self._rows.start].render_into(frames[row])  # (channels, H, W)
        else:
            fit_into(observation, frames[row])

    def _begin_drawing(self, row: int, seed: int) -> None:
        """Note that the environment in this row is in an episode of this seed."""
        if self._views:
            self._views[row - self._rows.start].begin(seed)

    def _expect_changes(self, row: int) -> None:
        """Note that the model of the environment in this row may look different from now on."""
        if self._views:
            self._views[row - self._rows.start].expect_changes()


def describe_environment(task: Task, row: int) -> str:
    """Return the name of one environment in messages."""
    return f"Environment {row} of task {task.name} ({task.source})"


def _only_number(reward: Any) -> Any:
    if np.size(reward) != 1:
        raise ValueError(f"the reward has shape {np.shape(reward)}, but it must be a number")
    return np.asarray(reward).item()


def _describe(error: BaseException) -> str:
    """Return the raised error and its place in the code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = "".join(traceback.format_exception_only(error)).strip()
    return f"{text} ({Path(place.filename).name}, line {place.lineno})"
