"""Goal-conditioned environments for hindsight experience replay (HER).

Source: Andrychowicz et al., "Hindsight Experience Replay", NeurIPS 2017. The replay is SB3's
`HerReplayBuffer`, which needs observations in groups and the environment's `compute_reward`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from Common.errors import UserError
from Enviroment.make import make_state_env
from Enviroment.simulation.making import make_environment, time_limit
from Enviroment.state_layout import StateGroup, state_groups
from Enviroment.task import Task
from Train_Teacher.settings.config import SACTeacherConfig

_GOALS = ("observation", "achieved_goal", "desired_goal")  # of Gymnasium-Robotics and SB3


def goal_groups(task: Task) -> list[StateGroup] | None:
    """Return the groups of a goal-conditioned task, in the order of its state.

    Returns:
        None if the task is not goal-conditioned: it has other groups, or no `compute_reward`.
    """
    with contextlib.closing(make_environment(task)) as env:
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or not env.has_wrapper_attr("compute_reward"):
            return None
        groups = state_groups(space)
        return groups if {group.name for group in groups} == set(_GOALS) else None


def check_goals(task: Task, settings: SACTeacherConfig) -> None:
    """Raise UserError if HER is impossible in a task, judged by its time limit.

    Without a time limit, episodes may still be too long: see `GoalReplayBuffer`.
    """
    if goal_groups(task) is None:
        raise UserError(
            f"`hindsight_goals` needs a goal-conditioned environment: {task.env_id} has no "
            f"compute_reward, or its observations are not {', '.join(_GOALS)}. Use 0."
        )
    longest, n_envs = time_limit(task), settings.num_envs
    if longest is None:
        return
    if settings.learning_starts < n_envs * longest:
        raise UserError(
            f"`learning_starts` {settings.learning_starts}: HER replays complete episodes, and the "
            f"first ones end after {n_envs} environments * {longest} steps = {n_envs * longest}."
        )
    # Up to the last step of an episode, the one before must not be overwritten.
    if settings.buffer_size // n_envs < 2 * longest - 1:
        raise UserError(
            f"`buffer_size` {settings.buffer_size}: HER replays complete episodes, and needs room "
            f"for one beside the one in progress: {n_envs} environments * 2 * {longest} steps = "
            f"{2 * n_envs * longest}."
        )


class GoalReplayBuffer(HerReplayBuffer):
    """SB3's buffer, with an error that names the remedy if it holds no complete episode."""

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:
        """Return a minibatch.

        Raises:
            UserError: there is no complete episode.
        """
        try:
            return super().sample(batch_size, env)
        except RuntimeError as error:
            if self.ep_length.any():
                raise
            raise UserError(
                "HER replays complete episodes, and has none for the gradient step that is due. "
                f"{self._remedy()} Start over with `overwrite`."
            ) from error

    def _remedy(self) -> str:
        if not self.full:
            return (
                f"None has ended within {self.pos} steps of each of {self.n_envs} environments: "
                "raise `learning_starts` to `num_envs` * the steps of the longest episode, or set "
                "a time limit."
            )
        return (
            f"The replay buffer has room for {self.buffer_size} steps of each of {self.n_envs} "
            "environments: raise `buffer_size` to 2 * `num_envs` * the steps of the longest "
            "episode, and `learning_starts` to half of it, or set a time limit."
        )


def put_off_training(agent: OffPolicyAlgorithm, task: Task, total_timesteps: int) -> None:
    """Let a resumed agent wait for a complete episode, if HER has none to replay until then.

    The environments of a resumed run begin new episodes, and those in progress at the checkpoint
    are not replayed. Until the gradient steps begin, actions are random, as at the beginning.

    Raises:
        UserError: there would be no gradient step within `total_timesteps`.
    """
    buffer = agent.replay_buffer
    if not isinstance(buffer, HerReplayBuffer):
        return
    longest, n_envs = time_limit(task), buffer.n_envs
    # Without a limit: as long as was thought to be enough at the beginning.
    wait = agent.learning_starts if longest is None else n_envs * longest  # env steps
    # Rows to be written until an episode's first row is overwritten: then all of it is dropped.
    lasts = (buffer.ep_start - buffer.pos) % buffer.buffer_size  # (buffer_size, n_envs)
    needed = 0 if longest is None else longest - 1
    if ((buffer.ep_length > 0) & (lasts >= needed)).any():
        return
    agent.learning_starts = max(agent.learning_starts, agent.num_timesteps + wait)
    if agent.learning_starts >= total_timesteps and not agent._n_updates:
        raise UserError(
            f"`total_timesteps` {total_timesteps}: HER replays complete episodes, and the next "
            f"ones may not end before env step {agent.learning_starts}. Raise it."
        )


def make_goal_env(task: Task, n_envs: int, seed: int) -> GoalVecEnv:
    """Create environments whose observations are the groups of a goal-conditioned task."""
    groups = goal_groups(task)
    assert groups is not None  # `check_goals`
    return GoalVecEnv(make_state_env(task, n_envs, seed), groups)


class GoalVecEnv(VecEnvWrapper):
    """Split states `(n_envs, state_dim)` into a dictionary of groups.

    Args:
        groups: the parts of the state, in its order.
    """

    def __init__(self, venv: VecEnv, groups: Sequence[StateGroup]) -> None:
        self._slices = {group.name: slice(group.first, group.end) for group in groups}
        boxes = [
            (group.name, spaces.Box(-np.inf, np.inf, (group.end - group.first,), np.float32))
            for group in groups
        ]
        super().__init__(venv, observation_space=spaces.Dict(boxes))

    def reset(self) -> dict[str, np.ndarray]:
        return self._split(np.asarray(self.venv.reset()))

    def step_wait(self) -> VecEnvStepReturn:
        states, rewards, dones, infos = self.venv.step_wait()
        for index in np.flatnonzero(dones).tolist():
            infos[index]["terminal_observation"] = self._split(infos[index]["terminal_observation"])
        return self._split(np.asarray(states)), rewards, dones, infos

    def _split(self, states: np.ndarray) -> dict[str, Any]:
        """Return the groups of states `(..., state_dim)`."""
        return {name: states[..., part] for name, part in self._slices.items()}
