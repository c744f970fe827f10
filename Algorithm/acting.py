"""Act in several environments, with the hidden states of a recurrent student."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from Common.device import upload
from Models.distributions import Distribution
from Models.networks.recurrent import Past
from Models.sb3.policies import act
from Models.student.policy import StudentPolicy


def is_recurrent(policy: object) -> TypeGuard[StudentPolicy]:
    """Return whether the policy's actions depend on earlier observations of the episode."""
    return isinstance(policy, StudentPolicy) and policy.config.is_recurrent


class Actor:
    """A policy in `n_envs` environments, with its hidden states if it is recurrent.

    The hidden state of an environment is zero where an episode begins.
    """

    def __init__(self, policy: ActorCriticPolicy, n_envs: int) -> None:
        self._policy = policy
        self.hidden: Tensor | None = None  # (n_envs, units), before the next step
        if is_recurrent(policy):
            self.hidden = policy.memory.blank(n_envs)

    def __call__(self, obs: Any, starts: np.ndarray) -> tuple[Distribution, Tensor | None]:
        """Return distributions and values `(n_envs,)` in one step, and remember it.

        The values are None if they can be computed later (`Models.sb3.policies.act`).

        Args:
            obs: of all environments, on the policy's device.
            starts: bool `(n_envs,)`, where an episode begins with these observations.
        """
        if self.hidden is None:
            return act(self._policy, obs)
        assert isinstance(self._policy, StudentPolicy)
        past = Past.of_step(self.hidden, starts)
        student, values, self.hidden = self._policy.advance_with_values(obs, past)
        return student, values

    def distribution(self, obs: Any, starts: np.ndarray) -> Distribution:
        """Return the student's distributions in one step, without values, and remember it."""
        assert isinstance(self._policy, StudentPolicy)
        if self.hidden is None:
            return self._policy.distribution(obs)
        past = Past.of_step(self.hidden, starts)
        student, self.hidden = self._policy.advance(obs, past)
        return student

    def values(self, obs: Any, starts: np.ndarray) -> Tensor:
        """Return the values `(n_envs,)` of the next observations, without remembering them.

        Args:
            starts: bool `(n_envs,)`, where an episode begins with them.
        """
        return self._values(obs, self.hidden, starts)

    def values_of(self, obs: Any, envs: np.ndarray) -> Tensor:
        """Return the values `(N,)` of the last observations of episodes.

        Args:
            envs: `(N,)`, the environments that the observations are of.
        """
        hidden = None if self.hidden is None else self.hidden[upload(envs, self.hidden.device)]
        return self._values(obs, hidden, np.zeros(len(envs), bool))

    def _values(self, obs: Any, hidden: Tensor | None, starts: np.ndarray) -> Tensor:
        obs = upload(obs, self._policy.device)
        if hidden is None:
            return self._policy.predict_values(obs).flatten()
        assert isinstance(self._policy, StudentPolicy)
        return self._policy.predict_values(obs, Past.of_step(hidden, starts)).flatten()

    def capture(self) -> dict[str, Tensor]:
        """Return the state for `restore`, without copies; empty if there is none to keep."""
        return {} if self.hidden is None else {"hidden": self.hidden}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state of `capture` of a policy with the same network."""
        if self.hidden is not None:
            self.hidden = state["hidden"].to(self.hidden.device)
