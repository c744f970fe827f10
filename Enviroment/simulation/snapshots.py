"""Save and restore the complete state of one environment as plain data."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import mujoco
from gymnasium.wrappers import TimeLimit

from Common.errors import NoStateError
from Enviroment.simulation.held import Held, take
from Enviroment.simulation.held_restore import put


@dataclass(frozen=True)
class Snapshot:
    """The complete state of one environment."""

    episode_seed: int  # seed of the running episode's reset
    held: Held  # simulation, model, and what the environment and its wrappers keep in Python


def find_time_limit(env: gym.Env) -> TimeLimit | None:
    """Return the wrapper that truncates this environment's episodes, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return env
        env = env.env
    return None


def take_snapshot(env: gym.Env, episode_seed: int) -> Snapshot:
    """Return the current state of an environment that was reset with this seed.

    State outside of the environment and its wrappers is not included: files, global variables,
    attributes of classes.

    Raises:
        NoStateError: it is not a MuJoCo environment, or has attributes that cannot be stored.
    """
    name = _name(env)
    try:
        return Snapshot(episode_seed, take(env))
    except NoStateError as error:
        raise NoStateError(f"{name} cannot be saved: {error}.") from error


def restore_snapshot(env: gym.Env, snapshot: Snapshot) -> None:
    """Restore a snapshot in an environment of the same task.

    Raises:
        NoStateError: as in `take_snapshot`; or an attribute that cannot be stored has changed since
            the start of the episode. The environment is then at the start of that episode.
        UserError: the snapshot is damaged.
    """
    name = _name(env)
    # Sets the attributes that cannot be stored, as at the start of this episode.
    env.reset(seed=snapshot.episode_seed)
    try:
        put(env, snapshot.held)
    except NoStateError as error:
        raise NoStateError(f"{name}: {error}.") from error


def _name(env: gym.Env) -> str:
    """Return the environment's name in messages. Raise NoStateError if it is not MuJoCo's."""
    inner = env.unwrapped
    name = env.spec.id if env.spec is not None else type(inner).__name__
    if not isinstance(getattr(inner, "data", None), mujoco.MjData):
        raise NoStateError(f"{name} cannot be saved: it is not a MuJoCo environment.")
    return name
