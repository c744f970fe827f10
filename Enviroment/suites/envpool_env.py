"""Atari and Procgen of EnvPool (the extra `suites`) as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Common.errors import NoStateError
from Enviroment.episode_env import DictObs, EpisodeVecEnv, Transition
from Enviroment.observations import FRAME, FrameStack, frame_channels
from Enviroment.simulation.state import EnvState
from Enviroment.suites.envpool_games import Games, action_count
from Enviroment.task import Task


class EnvPoolVecEnv(EpisodeVecEnv):
    """Games that reset themselves. Observations have one group, `frame`.

    In evaluation and in datasets, an episode depends on its seed only. In training, an
    environment's episodes follow from the seed of its first episode (see `envpool_games.Games`),
    which the next `reset` renews. Equal seeds and actions give equal episodes. In Procgen, `infos`
    of an episode's last step also hold its `level_seed`.

    Episodes need no staggering, because they end with lives and levels. Games cannot be saved: a
    run resumes at the start of an episode.

    Args:
        task: the game.
        n_envs: number of parallel games.
        seed: s, seed of the first reset; also selects the rules of training or evaluation.
        n_threads: number of threads that step the games in training.
        blind: return zero frames.
        worker_timeout: seconds without an answer after which a game counts as hung.

    Raises:
        UserError: EnvPool, or Qt for Procgen, is not installed; or the game lacks such frames.
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
        shape = (task.stack * frame_channels(task), *task.frame_size)
        super().__init__(
            task,
            spaces.Dict({FRAME: spaces.Box(0, 255, shape, np.uint8)}),
            spaces.Discrete(action_count(task)),
            np.zeros(n_envs, np.int64),
            seed,
        )
        self._n_threads, self.blind, self._timeout = n_threads, blind, worker_timeout
        self._games: Games | None = None
        self._stack = FrameStack(task, n_envs)

    def step_async(self, actions: np.ndarray) -> None:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"Actions are {actions.dtype} {actions.shape}, expected one integer for each of "
                f"{self.num_envs} environments."
            )
        n_actions = self._n_actions  # EnvPool would read memory beyond its table
        if actions.min() < 0 or actions.max() >= n_actions:
            raise ValueError(f"Actions {actions.tolist()} must be in 0 to {n_actions - 1}.")
        self._running.send(actions)

    def step_wait(self) -> Transition:
        step = self._running.receive()
        self._stack.push(step.frames)
        transition = self._finish_step(step.rewards, step.terminated, step.truncated)
        *_, dones, infos = transition
        if step.levels is not None:
            for index in np.flatnonzero(dones).tolist():
                infos[index]["level_seed"] = int(step.levels[index])
        return transition

    def close(self) -> None:
        """Free the games. A second call does nothing."""
        if self._games is not None:
            self._games.close()
            self._games = None

    def save_state(self) -> EnvState:
        """Raise NoStateError: EnvPool cannot save its games."""
        raise NoStateError(f"{self.task.name} is played by EnvPool, which cannot save its games.")

    def restore_state(self, state: EnvState) -> DictObs:
        """Raise NoStateError: EnvPool cannot restore its games."""
        raise NoStateError(f"{self.task.name} is played by EnvPool, which cannot restore a game.")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return None for `render_mode`, which SB3 queries; there are no other attributes."""
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

    def _begin_all(self) -> None:
        if self._games is not None:
            self._games.close()
        self._games = Games(self.task, self._episode_seeds, self._n_threads, self._timeout)
        for index, frame in enumerate(self._games.reset()):
            self._stack.restart(index, frame)

    def _begin_episode(self, index: int) -> None:
        first = self._running.begin(index, int(self._episode_seeds[index]))
        self._stack.restart(index, first)

    def _observation(self) -> DictObs:
        return self._grouped(self._stack.stacks())

    def _terminal_observation(self, index: int) -> DictObs:
        return self._grouped(self._stack.stack(index))

    def _grouped(self, frames: np.ndarray) -> DictObs:
        return {FRAME: np.zeros_like(frames) if self.blind else frames}

    @property
    def _running(self) -> Games:
        if self._games is None:
            raise RuntimeError("Call reset before step, and neither after close.")
        return self._games

    @property
    def _n_actions(self) -> int:
        assert isinstance(self.action_space, spaces.Discrete)
        return int(self.action_space.n)
