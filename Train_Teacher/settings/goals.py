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
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from Common.errors import UserError
from Enviroment.make import make_state_env
from Enviroment.simulation.making import make_environment, time_limit
from Enviroment.state_layout import StateGroup, state_groups
from Enviroment.task import Task

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


def check_goals(task: Task, n_envs: int, learning_starts: int) -> None:
    """Raise UserError if HER is impossible in a task.

    Args:
        learning_starts: env steps before the first gradient step, which needs a complete episode.
    """
    if goal_groups(task) is None:
        raise UserError(
            f"`hindsight_goals` needs a goal-conditioned environment: {task.env_id} has no "
            f"compute_reward, or its observations are not {', '.join(_GOALS)}. Use 0."
        )
    longest = time_limit(task)
    if longest is not None and learning_starts < n_envs * longest:
        raise UserError(
            f"`learning_starts` {learning_starts}: HER replays complete episodes, and the first "
            f"ones end after {n_envs} environments * {longest} steps = {n_envs * longest}."
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
