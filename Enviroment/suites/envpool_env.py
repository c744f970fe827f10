"""Atari and Procgen as Stable-Baselines3's `VecEnv`, played by EnvPool (the extra `suites`)."""

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
    """Games that begin anew by themselves. Observations have one group, `frame`.

    An episode to be evaluated, or of a dataset, is decided by its seed alone. In training, an
    environment's episodes follow from the seed of its first one (see `envpool_games.Games`), which
    the next `reset` renews. The same seeds and actions give the same episodes. In Procgen, `infos`
    of an episode's last step hold its `level_seed` as well.

    Episodes need no staggering: they end with lives and levels. Nothing here can be saved: a run
    resumes at an episode's start.

    Args:
        task: what is played.
        n_envs: how many games run side by side.
        seed: s, of the first reset; tells whether they train or are evaluated too.
        n_threads: that step the games in training.
        blind: frames are zero.
        worker_timeout: seconds after which a game that gives no answer counts as hung.

    Raises:
        UserError: EnvPool, or Qt for Procgen, is not installed; or the game draws no such frames.
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
        self._n_threads, self._blind, self._timeout = n_threads, blind, worker_timeout
        self._games: Games | None = None
        self._stack = FrameStack(task, n_envs)

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
