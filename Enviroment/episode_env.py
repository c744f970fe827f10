"""What every `VecEnv` here keeps of its episodes, whoever simulates them: seeds and returns."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Enviroment import seeds
from Enviroment.task import Task

_RANDOM_SEEDS = 2**30  # and as many episodes after each

DictObs = dict[str, np.ndarray]  # by group
Transition = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]  # as `EpisodeVecEnv.step`


class EpisodeVecEnv(VecEnv):
    """Environments that reset themselves, episode by episode, with seeds that can be named.

    After `env.seed(s); env.reset()`, the k-th episode of environment i has the seed
    `s + k * n_envs + i`; a later `env.reset()` goes on with the next k. Seeds stay within their
    range of `Enviroment.seeds`, however many episodes there are.

    At an episode's end `infos[i]` holds `terminal_observation`, `TimeLimit.truncated` (the time
    limit ended it, and nothing else) and `episode`, as SB3's `Monitor` reports it. Other infos are
    empty.

    `divergences`, int64 (n_envs,), counts simulations that went wrong; games have none.
    `episodes_begun`, int64 (n_envs,), counts episodes, the running ones included.

    Args:
        task: what is simulated or played.
        space: of one environment's observation.
        action_space: of one environment.
        episode_seeds: int64 (n_envs,), to hold the seeds of the next episodes; written here,
            read by whoever begins episodes.
        seed: s, of the first reset.
    """

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
        """Name the seeds from the next `reset` on: `seed + k * n_envs + i`.

        Without one, a random one is drawn from NumPy's global generator, as in SB3; of fewer than
        SB3's, because games take no seed of 32 bits.
        """
        first = int(np.random.randint(_RANDOM_SEEDS)) if seed is None else seed
        super().seed(first)
        self._episode_seeds[:] = first + self._first_row + np.arange(self.num_envs)
        return self._episode_seeds.tolist()

    def skip_episodes(self, n_episodes: int) -> None:
        """Let the next `reset` begin with episode `n_episodes` of each environment, counted from
        the seed that was given last: what came before it was played by an earlier process.
        """
        self._move_seeds(n_episodes)
        self.episodes_begun[:] = n_episodes

    def take_rows(self, first: int, total: int) -> None:
        """These are the environments from `first` on of `total`; other processes have the rest.

        Seeds and staggering are as if all were together: `seed + k * total + first + i`. Call it
        before `seed` and `reset`.
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
        """One step everywhere: observation, rewards float32 (n_envs,), dones (n_envs,), infos."""
        self.step_async(actions)
        return self.step_wait()

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """SB3 asks only for `Monitor`, whose report of each episode these environments give."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _finish_step(
        self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray
    ) -> Transition:
        """Book a step that was made everywhere, and begin new episodes where one has ended.

        Args:
            rewards, terminated, truncated: (n_envs,), of the step.
        """
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            timed_out = bool(truncated[index] and not terminated[index])
            infos[index] = self._end_episode(index, timed_out)
        return self._observation(), rewards.astype(np.float32), dones, infos

    def _end_episode(self, index: int, timed_out: bool) -> dict[str, Any]:
        """Close the books on an episode, and begin the next one."""
        info = {
            "terminal_observation": self._terminal_observation(index),
            "TimeLimit.truncated": timed_out,
            "episode": {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": round(time.time() - self._start_time, 6),
            },
        }
        self._returns[index] = self._lengths[index] = 0
        self._begin_episode(index)
        self.episodes_begun[index] += 1
        self._episode_seeds[index] = seeds.further(
            int(self._episode_seeds[index]), self._total_rows
        )
        return info

    def _move_seeds(self, n_episodes: int) -> None:
        """Name the seeds of the episodes that come so many later."""
        places = n_episodes * self._total_rows
        self._episode_seeds[:] = [seeds.further(int(s), places) for s in self._episode_seeds]

    @abstractmethod
    def _begin_all(self) -> None:
        """Begin an episode everywhere, with the seeds of `_episode_seeds`."""

    @abstractmethod
    def _begin_episode(self, index: int) -> None:
        """Begin an episode of one environment, with its seed of `_episode_seeds`."""

    @abstractmethod
    def _observation(self) -> Any:
        """What all environments show now, in arrays that later steps leave alone."""

    @abstractmethod
    def _terminal_observation(self, index: int) -> Any:
        """What a finished episode showed last. Called before `_begin_episode`."""
