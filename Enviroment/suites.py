"""Atari and Procgen as Stable-Baselines3's `VecEnv`, played by EnvPool (the extra `suites`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Enviroment.envpool_games import Games, action_count
from Enviroment.errors import NoStateError, UserError
from Enviroment.observations import FRAME, FrameStack, frame_channels
from Enviroment.state import EnvState
from Enviroment.task import Task

DictObs = dict[str, np.ndarray]


def make_envpool_env(
    task: Task,
    n_envs: int,
    seed: int,
    *,
    n_threads: int,
    blind: bool = False,
    worker_timeout: float = 120.0,
) -> EnvPoolVecEnv:
    """The games of a task whose simulator is EnvPool.

    Args:
        n_envs: how many run side by side.
        seed: of the first episodes; tells whether they train or are evaluated too (see
            `envpool_games`).
        n_threads: that step the games in training.
        blind: frames are zero, to measure what seeing is worth.
        worker_timeout: seconds after which a game that gives no answer counts as hung.

    Raises:
        UserError: EnvPool, or Qt for Procgen, is not installed; or an argument is out of range.
    """
    if n_envs < 1:
        raise UserError(f"--num_envs {n_envs}: at least one environment is needed.")
    if seed < 0:
        raise UserError(f"Seed {seed}: seeds start at 0.")
    return EnvPoolVecEnv(task, n_envs, seed, n_threads, blind, worker_timeout)


class EnvPoolVecEnv(VecEnv):
    """Games that begin anew by themselves. Observations have one group, `frame`.

    As in `SeededVecEnv`, after `env.seed(s); env.reset()` the k-th episode of environment i has
    the seed `s + k * n_envs + i`, and `infos` of an episode's last step hold
    `terminal_observation`, `TimeLimit.truncated` and `episode`; and `level_seed` in Procgen. An
    episode to be evaluated is decided by its seed alone. In training, an environment's episodes
    follow from the seed of its first one (see `envpool_games.Games`), which the next `reset`
    renews. The same seeds and actions give the same episodes.

    Episodes need no staggering: they end with lives and levels. Nothing here can be saved: a run
    resumes at an episode's start.

    Args:
        task: what is played.
        seed: s, of the first reset.
        n_threads: that step the games in training.
        blind: frames are zero.
        worker_timeout: seconds after which a game that gives no answer counts as hung.
    """

    def __init__(
        self,
        task: Task,
        n_envs: int,
        seed: int,
        n_threads: int,
        blind: bool = False,
        worker_timeout: float = 120.0,
    ) -> None:
        self.task = task
        self._n_threads, self._blind, self._timeout = n_threads, blind, worker_timeout
        self._games: Games | None = None
        self._first_row, self._total_rows = 0, n_envs
        shape = (task.stack * frame_channels(task), *task.frame_size)
        super().__init__(
            n_envs,
            spaces.Dict({FRAME: spaces.Box(0, 255, shape, np.uint8)}),
            spaces.Discrete(action_count(task)),
        )
        self._stack = FrameStack(task, n_envs)
        self._episode_seeds = np.zeros(n_envs, np.int64)  # of the next episodes
        self._returns = np.zeros(n_envs)  # of the running episodes
        self._lengths = np.zeros(n_envs, np.int64)  # env steps
        self.divergences = np.zeros(n_envs, np.int64)  # as other environments count; never any
        self._start_time = time.time()
        self.seed(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Name the seeds from the next `reset` on: `seed + k * n_envs + i`.

        Without one, a random one is drawn from NumPy's global generator, as in SB3.
        """
        first = super().seed(seed)[0]
        assert first is not None  # SB3 draws one where none is given
        self._episode_seeds[:] = first + self._first_row + np.arange(self.num_envs)
        return self._episode_seeds.tolist()

    def take_rows(self, first: int, total: int) -> None:
        """These are the environments from `first` on of `total`; other processes have the rest.

        Seeds are as if all were together: `seed + k * total + first + i`. Call it before `seed`
        and `reset`.
        """
        self._first_row, self._total_rows = first, total

    def reset(self) -> DictObs:
        if self._games is not None:
            self._games.close()
        self._games = Games(self.task, self._episode_seeds, self._n_threads, self._timeout)
        self._episode_seeds += self._total_rows
        self._reset_seeds()
        self._returns[:] = self._lengths[:] = 0
        for index, frame in enumerate(self._games.reset()):
            self._stack.restart(index, frame)
        return self._observation()

    def step(self, actions: np.ndarray) -> tuple[DictObs, np.ndarray, np.ndarray, list[dict]]:
        """One step everywhere: observation, rewards float32 (n_envs,), dones (n_envs,), infos."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"Actions are {actions.dtype} {actions.shape}, expected one integer for each of "
                f"{self.num_envs} environments."
            )
        n_actions = self._n_actions  # EnvPool would read memory behind its own table
        if actions.min() < 0 or actions.max() >= n_actions:
            raise ValueError(f"Actions {actions.tolist()} must lie in 0 to {n_actions - 1}.")
        self._running.send(actions)

    def step_wait(self) -> tuple[DictObs, np.ndarray, np.ndarray, list[dict]]:
        step = self._running.receive()
        self._returns += step.rewards
        self._lengths += 1
        self._stack.push(step.frames)
        dones = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            infos[index] = self._end_episode(index, bool(step.truncated[index]))
            if step.levels is not None:
                infos[index]["level_seed"] = int(step.levels[index])
        return self._observation(), step.rewards, dones, infos

    def _end_episode(self, index: int, timed_out: bool) -> dict[str, Any]:
        """Close the books on an episode, and begin the next one."""
        frames = self._stack.stack(index)
        info = {
            "terminal_observation": {FRAME: np.zeros_like(frames) if self._blind else frames},
            "TimeLimit.truncated": timed_out,
            "episode": {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": round(time.time() - self._start_time, 6),
            },
        }
        self._returns[index] = self._lengths[index] = 0
        first = self._running.begin(index, int(self._episode_seeds[index]))
        self._episode_seeds[index] += self._total_rows
        self._stack.restart(index, first)
        return info

    def _observation(self) -> DictObs:
        frames = self._stack.stacks()
        return {FRAME: np.zeros_like(frames) if self._blind else frames}

    @property
    def _running(self) -> Games:
        if self._games is None:
            raise RuntimeError("Call reset before step, and neither after close.")
        return self._games

    @property
    def _n_actions(self) -> int:
        assert isinstance(self.action_space, spaces.Discrete)
        return int(self.action_space.n)

    def close(self) -> None:
        """Free the games. Closing twice is harmless."""
        if self._games is not None:
            self._games.close()
            self._games = None

    def save_state(self) -> EnvState:
        """Raises NoStateError: EnvPool cannot save its games."""
        raise NoStateError(f"{self.task.name} is played by EnvPool, which cannot save its games.")

    def restore_state(self, state: EnvState) -> DictObs:
        """Raises NoStateError, as `save_state`."""
        raise NoStateError(f"{self.task.name} is played by EnvPool, which cannot restore a game.")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """What SB3 asks for at its start, `render_mode`, is None: there are no Python objects."""
        if attr_name == "render_mode":
            return [None for _ in self._get_indices(indices)]
        raise AttributeError(f"EnvPool's games have no attribute {attr_name!r}.")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"EnvPool's games have no attribute {attr_name!r} to set.")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        raise AttributeError(f"EnvPool's games have no method {method_name!r}.")

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """SB3 asks only for `Monitor`, whose report of each episode these environments give."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
