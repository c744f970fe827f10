"""A worker's share of a task's environments, and the arrays through which it reports.

This module loads no deep-learning library, so worker processes start light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from Enviroment.observations import frame_channels
from Enviroment.render import Quality, Renderer
from Enviroment.tasks import Task


def make_simulation(task: Task) -> gym.Env:
    """Gymnasium's own environment of the task, with its time limit."""
    # The checker only warns, and costs a quarter of a step.
    return gym.make(task.env_id, disable_env_checker=True)


@dataclass(frozen=True)
class Layout:
    """Sizes of what the environments and the `VecEnv` exchange."""

    task: Task
    n_envs: int
    state_dim: int
    action_shape: tuple[int, ...]
    action_dtype: np.dtype
    quality: Quality | None  # None: nothing is drawn

    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of each array of `Exchange`."""
        frame = (frame_channels(self.task), *self.task.frame_size)
        n_drawn = 0 if self.quality is None else self.n_envs
        n = self.n_envs
        return {
            "actions": ((n, *self.action_shape), self.action_dtype),
            "seeds": ((n,), np.dtype(np.int64)),
            "rewards": ((n,), np.dtype(np.float64)),
            "terminated": ((n,), np.dtype(np.bool_)),
            "truncated": ((n,), np.dtype(np.bool_)),
            "states": ((n, self.state_dim), np.dtype(np.float32)),
            "last_states": ((n, self.state_dim), np.dtype(np.float32)),
            "frames": ((n_drawn, *frame), np.dtype(np.uint8)),
            "last_frames": ((n_drawn, *frame), np.dtype(np.uint8)),
        }


class Exchange:
    """Arrays, one row an environment, through which workers and the `VecEnv` talk.

    actions, seeds: written by the `VecEnv`; the seed is that of the next episode.
    rewards, terminated, truncated: of the last step.
    states, frames: as they are now; after an episode's end, of the next one's start.
    last_states, last_frames: what the finished episode ended with; stale in other rows.
    """

    actions: np.ndarray
    seeds: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    states: np.ndarray
    last_states: np.ndarray
    frames: np.ndarray
    last_frames: np.ndarray

    def __init__(self, layout: Layout, memory: Any) -> None:
        """Lay the arrays out in `memory`, a buffer of `Exchange.size(layout)` bytes."""
        start = 0
        for name, (shape, dtype) in layout.arrays().items():
            count = int(np.prod(shape))
            setattr(self, name, np.frombuffer(memory, dtype, count, start).reshape(shape))
            start += _padded(count * dtype.itemsize)

    @staticmethod
    def size(layout: Layout) -> int:
        """Bytes that the arrays take."""
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
        self._rows = rows
        self._exchange = exchange
        self._gray = task.grayscale
        self._envs = [make_simulation(task) for _ in rows]
        self._renderer = None
        if layout.quality is not None:
            model = getattr(self._envs[0].unwrapped, "model")  # noqa: B009 (not in gym.Env's type)
            self._renderer = Renderer(
                model, task.camera, *task.frame_size, layout.quality, task.grayscale
            )

    def reset(self) -> None:
        """Begin a new episode in every environment."""
        for row, env in zip(self._rows, self._envs, strict=True):
            self._begin(row, env)

    def step(self) -> None:
        """One step everywhere; where an episode ends, the next one begins."""
        to = self._exchange
        for row, env in zip(self._rows, self._envs, strict=True):
            state, reward, terminated, truncated, _ = env.step(to.actions[row])
            to.rewards[row], to.terminated[row], to.truncated[row] = reward, terminated, truncated
            if terminated or truncated:
                to.last_states[row] = state
                self._draw(row, env, to.last_frames)
                self._begin(row, env)
            else:
                to.states[row] = state
                self._draw(row, env, to.frames)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        for env in self._envs:
            env.close()

    def get(self, row: int, name: str) -> Any:
        """An attribute of the environment in this row."""
        return self._env(row).get_wrapper_attr(name)

    def set(self, row: int, name: str, value: Any) -> None:
        """Set an attribute of the environment in this row."""
        self._env(row).set_wrapper_attr(name, value)

    def invoke(self, row: int, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a method of the environment in this row."""
        return self._env(row).get_wrapper_attr(name)(*args, **kwargs)

    def shorten_episode(self, row: int, share: float) -> None:
        """Leave the running episode that share of its time limit, by moving its clock on.

        Raises:
            ValueError: the environment has no time limit.
        """
        env = self._env(row)
        while isinstance(env, gym.Wrapper) and not isinstance(env, TimeLimit):
            env = env.env
        if not isinstance(env, TimeLimit):
            raise ValueError(f"{env} has no time limit, so its episodes cannot be staggered.")
        limit = env._max_episode_steps
        env._elapsed_steps = limit - max(1, round(share * limit))

    def _env(self, row: int) -> gym.Env:
        return self._envs[row - self._rows.start]

    def _begin(self, row: int, env: gym.Env) -> None:
        state, _ = env.reset(seed=int(self._exchange.seeds[row]))
        self._exchange.states[row] = state
        self._draw(row, env, self._exchange.frames)

    def _draw(self, row: int, env: gym.Env, frames: np.ndarray) -> None:
        if self._renderer is None:
            return
        picture = self._renderer.render(env.unwrapped.data)  # type: ignore[attr-defined]
        frames[row] = picture if self._gray else picture.transpose(2, 0, 1)  # (channels, H, W)
