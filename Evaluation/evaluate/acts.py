"""Policies as functions of observations, without and with a hidden state.

A recurrent policy is an `Act` with a method `reset(begins)`, `begins` being `(n_envs,)` bool, which
resets the hidden state where an episode begins. A `Measure` of such a policy has this method too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Obs = np.ndarray | dict[str, np.ndarray]  # (n_envs, ...), or a dict of these by group
Act = Callable[[Obs], np.ndarray]  # -> (n_envs, action_dim), in the units of the environment
Measure = Callable[[Obs, np.ndarray], np.ndarray]  # observations, actions -> (n_envs,)


class Predictor(Protocol):
    """Interface shared by SB3's algorithms and policies and the teacher."""

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]: ...


def begin_episodes(act: Act | Measure, begins: np.ndarray) -> None:
    """Reset the memory of a policy or a measure where an episode begins, if it has one.

    Args:
        begins: `(n_envs,)` bool.
    """
    reset = getattr(act, "reset", None)
    if reset is not None:
        reset(begins)


class PolicyAct:
    """The `Act` of a policy, which keeps the hidden state of a recurrent one between steps.

    The hidden state of an environment is reset where an episode begins, see `begin_episodes`.
    """

    def __init__(self, policy: Predictor, deterministic: bool) -> None:
        self._policy, self._deterministic = policy, deterministic
        self.state: tuple[np.ndarray, ...] | None = None  # before the next step
        self._begins: np.ndarray | None = None

    def __call__(self, obs: Obs) -> np.ndarray:
        actions, self.state = self._policy.predict(
            obs, self.state, self._begins, self._deterministic
        )
        self._begins = None
        return actions

    def reset(self, begins: np.ndarray) -> None:
        """Reset the hidden state where an episode begins, bool `(n_envs,)`."""
        if begins.all():  # also of another number of environments
            self.state, self._begins = None, None
        elif begins.any():
            self._begins = begins if self._begins is None else self._begins | begins
