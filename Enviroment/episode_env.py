"""The base class of every `VecEnv` of the toolkit: seeds, returns and lengths of episodes."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.simulation.part import describe_environment
from Enviroment.success import IS_SUCCESS
from Enviroment.task import Task

_RANDOM_SEEDS = 2**30  # leaves room for as many episodes after each seed

DictObs = dict[str, np.ndarray]  # by group
Transition = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]  # as `EpisodeVecEnv.step`


class EpisodeVecEnv(VecEnv):
    """Environments that reset themselves, with a known seed per episode.

    After `env.seed(s); env.reset()`, the k-th episode of environment i has the seed
    `s + k * n_envs + i`; a later `env.reset()` continues with the next k. Seeds stay within their
    range of `Enviroment.seeds`, however many episodes are played.

    At the end of an episode `infos[i]` holds `terminal_observation`, `TimeLimit.truncated` (only
    the time limit ended the episode) and `episode`, as reported by SB3's `Monitor`; also
    `is_success`, if the environment reports it (see `success`). Other infos are empty.

    `divergences`, int64 (n_envs,), counts diverged simulations; games have none.
    `episodes_begun`, int64 (n_envs,), counts episodes, including the running ones.

    Args:
        task: the simulated task or game.
        space: observation space of one environment.
        action_space: action space of one environment.
        episode_seeds: int64 (n_envs,), buffer for the seeds of the next episodes; written here,
            read by the code that begins episodes.
        seed: s, seed of the first reset.
    """

    # Whether observations are torch tensors on a device, and actions may be.
    gives_tensors: ClassVar[bool] = False

    def __init__(
        self,
        task: Task,
        space: spaces.Space,
        action_space: spaces.Space,
        episode_seeds: np.ndarray,
        seed: int,
    ) -> None:
        n_envs = len(episode_seeds)
        super().__init__(n_envs, space, action_space)
        self.task = task
        self.divergences = np.zeros(n_envs, np.int64)
        self.episodes_begun = np.zeros(n_envs, np.int64)
        self._first_row, self._total_rows = 0, n_envs
        self._episode_seeds = episode_seeds
        self._returns = np.zeros(n_envs)  # of the running episodes
        self._lengths = np.zeros(n_envs, np.int64)  # env steps
        self._start_time = time.time()
        self.seed(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seeds of all episodes from the next `reset` on: `seed + k * n_envs + i`.

        Without a seed, draw one from NumPy's global generator, as in SB3, but from a smaller range,
        because games accept no seeds of 32 bits.
        """
        first = int(np.random.randint(_RANDOM_SEEDS)) if seed is None else seed
        super().seed(first)
        rows = range(self._first_row, self._first_row + self.num_envs)
        self._episode_seeds[:] = [seeds.further(first, row) for row in rows]
        return self._episode_seeds.tolist()

    def skip_episodes(self, n_episodes: int) -> None:
        """Let the next `reset` begin with episode `n_episodes` of each environment.

        Episodes are counted from the last seed. An earlier process has played the skipped ones.
        """
        self._move_seeds(n_episodes)
        self.episodes_begun[:] = n_episodes

    def take_rows(self, first: int, total: int) -> None:
        """Set which of `total` environments, over all processes, these are: from `first` on.

        Seeds and staggering are then as in a single process: `seed + k * total + first + i`. Call
        this before `seed` and `reset`.
        """
        self._first_row, self._total_rows = first, total

    def reset(self) -> Any:
        self._begin_all()
        self.episodes_begun += 1
        self._move_seeds(1)
        self._reset_seeds()
        self._returns[:] = self._lengths[:] = 0
        return self._observation()

    def step(self, actions: np.ndarray) -> Transition:
        """Step all environments: observation, rewards float32 (n_envs,), dones (n_envs,), infos."""
        self.step_async(actions)
        return self.step_wait()

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Return True for `Monitor` only, because these environments report episodes as it does."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _finish_step(
        self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray
    ) -> Transition:
        """Count a step of all environments, and begin a new episode wherever one has ended.

        Args:
            rewards, terminated, truncated: (n_envs,), results of the step.

        Raises:
            UserError: a reward is NaN or infinite.
        """
        if not np.isfinite(rewards).all():  # every later return and weight would be NaN
            self._refuse_reward(int(np.flatnonzero(~np.isfinite(rewards))[0]), rewards)
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            timed_out = bool(truncated[index] and not terminated[index])
            infos[index] = self._end_episode(index, timed_out)
        return self._observation(), rewards.astype(np.float32), dones, infos

    def running_seed(self, index: int) -> int:
        """Return the seed of the running episode; `_episode_seeds` has that of the next one."""
        return seeds.further(int(self._episode_seeds[index]), -self._total_rows)

    def _refuse_reward(self, index: int, rewards: np.ndarray) -> NoReturn:
        raise UserError(
            f"{describe_environment(self.task, index)} gave the reward {rewards[index]} in step "
            f"{self._lengths[index] + 1} of the episode with seed "
            f"{self.running_seed(index)}. Rewards must be finite numbers: correct the environment "
            "or its wrapper."
        )

    def _end_episode(self, index: int, timed_out: bool) -> dict[str, Any]:
        """Return the info of a finished episode, and begin the next one."""
        info = {
            "terminal_observation": self._terminal_observation(index),
            "TimeLimit.truncated": timed_out,
            "episode": {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": round(time.time() - self._start_time, 6),
            },
        }
        success = self._success(index)
        if success is not None:
            info[IS_SUCCESS] = success
        self._returns[index] = self._lengths[index] = 0
        self._begin_episode(index)
        self.episodes_begun[index] += 1
        self._episode_seeds[index] = seeds.further(
            int(self._episode_seeds[index]), self._total_rows
        )
        return info

    def _success(self, index: int) -> bool | None:
        """Return whether a finished episode succeeded; None if it is not reported."""
        return None

    def _move_seeds(self, n_episodes: int) -> None:
        """Move the seeds forward by a number of episodes."""
        places = n_episodes * self._total_rows
        self._episode_seeds[:] = [seeds.further(int(s), places) for s in self._episode_seeds]

    @abstractmethod
    def _begin_all(self) -> None:
        """Begin an episode in every environment, with the seeds of `_episode_seeds`."""

    @abstractmethod
    def _begin_episode(self, index: int) -> None:
        """Begin an episode of one environment, with its seed of `_episode_seeds`."""

    @abstractmethod
    def _observation(self) -> Any:
        """Return the current observations, in arrays that later steps do not change."""

    @abstractmethod
    def _terminal_observation(self, index: int) -> Any:
        """Return the last observation of a finished episode. Called before `_begin_episode`."""
