"""Noise on executed actions while a dataset is collected, drawn from each episode's own seed."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.action_range import has_range

_DEFAULT_STD = 0.2  # half ranges of an action
_DEFAULT_SHARE = 0.1  # of random actions
_STREAM = 1  # separates an episode's noise from other uses of its seed


class BehaviourNoise:
    """Executes the teacher's actions unchanged. Subclasses add noise to them."""

    def begin(self, indices: np.ndarray, episode_seeds: np.ndarray) -> None:
        """Begin episodes in the environments of these indices, with these seeds, int64 (n,)."""

    def added(self, actions: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Return the actions `(n_envs, ...)` with the noise of each episode's step, (n_envs,)."""
        return actions


def make_noise(space: spaces.Space, n_envs: int, scale: float, max_steps: int) -> BehaviourNoise:
    """Return the noise for an action space.

    Args:
        scale: `behaviour_noise`; 0 for none.
        max_steps: maximum env steps per episode.
    """
    if scale == 0:
        return BehaviourNoise()
    if isinstance(space, spaces.Discrete):
        return RandomActions(space, n_envs, scale, max_steps)
    assert isinstance(space, spaces.Box)  # see `check_noise`
    return GaussianNoise(space, n_envs, scale, max_steps)


def default_noise(space: spaces.Space) -> float:
    """Return a noise for an action space, 0 where noise is undefined.

    Without noise, a dataset lacks the states that a student reaches by its own errors. Games are
    also deterministic: there are few different episodes, and a teacher can get stuck.
    """
    if isinstance(space, spaces.Discrete):
        return _DEFAULT_SHARE
    return _DEFAULT_STD if isinstance(space, spaces.Box) and has_range(space) else 0.0


def check_noise(space: spaces.Space, scale: float) -> None:
    """Raise UserError if the noise is undefined for the action space."""
    if scale and not isinstance(space, spaces.Box | spaces.Discrete):
        raise UserError(
            f"`behaviour_noise` {scale:g}: there is no noise for actions in {space}. Leave it out."
        )
    if isinstance(space, spaces.Box) and scale and not has_range(space):
        raise UserError(
            f"`behaviour_noise` {scale:g} is in half ranges of an action, but the actions of this "
            "task have no bounds, or too wide ones. Leave it out, or give narrower bounds."
        )
    if isinstance(space, spaces.Discrete) and scale > 1:
        raise UserError(
            f"`behaviour_noise` {scale:g}: with discrete actions, it is the share of steps whose "
            "action is drawn at random, 0 to 1."
        )


class GaussianNoise(BehaviourNoise):
    """Gaussian noise on continuous actions, clipped to their bounds.

    The standard deviation is in half ranges of each action.
    """

    def __init__(self, space: spaces.Box, n_envs: int, scale: float, max_steps: int) -> None:
        self._space = space
        self._std = scale * (space.high - space.low) / 2
        # (n_envs, max_steps, ...), standard normal
        self._draws = np.zeros((n_envs, max_steps, *space.shape), np.float32)

    def begin(self, indices: np.ndarray, episode_seeds: np.ndarray) -> None:
        for index, seed in zip(indices.tolist(), episode_seeds.tolist(), strict=True):
            generator = np.random.default_rng([seed, _STREAM])
            self._draws[index] = generator.standard_normal(self._draws.shape[1:], np.float32)

    def added(self, actions: np.ndarray, age: np.ndarray) -> np.ndarray:
        noisy = actions + self._std * self._draws[np.arange(len(age)), age]
        return np.clip(noisy, self._space.low, self._space.high).astype(actions.dtype)


class RandomActions(BehaviourNoise):
    """Replaces a share of the discrete actions by uniformly random ones."""

    def __init__(self, space: spaces.Discrete, n_envs: int, share: float, max_steps: int) -> None:
        self._n_actions, self._share = int(space.n), share
        self._draws = np.zeros((n_envs, max_steps), np.int64)  # -1: the teacher's action

    def begin(self, indices: np.ndarray, episode_seeds: np.ndarray) -> None:
        for index, seed in zip(indices.tolist(), episode_seeds.tolist(), strict=True):
            generator = np.random.default_rng([seed, _STREAM])
            is_random = generator.random(self._draws.shape[1]) < self._share
            actions = generator.integers(self._n_actions, size=self._draws.shape[1])
            self._draws[index] = np.where(is_random, actions, -1)

    def added(self, actions: np.ndarray, age: np.ndarray) -> np.ndarray:
        drawn = self._draws[np.arange(len(age)), age]
        return np.where(drawn < 0, actions, drawn)
