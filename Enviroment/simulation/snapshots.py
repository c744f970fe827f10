"""One environment's complete state, as plain data."""

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
    """All that decides how one environment goes on."""

    episode_seed: int  # with which the running episode was reset
    held: Held  # simulation, model, and what the environment and its wrappers keep in Python


def find_time_limit(env: gym.Env) -> TimeLimit | None:
    """The wrapper that cuts this environment's episodes off, if there is one."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return env
        env = env.env
    return None


def take_snapshot(env: gym.Env, episode_seed: int) -> Snapshot:
    """The environment as it is now. It must have been reset, with this seed.

    What lies outside of the environment and its wrappers is not in it: files, global variables,
    attributes of classes.

    Raises:
        NoStateError: it is no environment of MuJoCo's, or keeps something that cannot be stored.
    """
    name = _name(env)
    try:
        return Snapshot(episode_seed, take(env))
    except NoStateError as error:
        raise NoStateError(f"{name} cannot be saved: {error}.") from error


def restore_snapshot(env: gym.Env, snapshot: Snapshot) -> None:
    """Bring an environment of the same task to where the snapshot was taken.

    Raises:
        NoStateError: as `take_snapshot`; or what cannot be stored is not what it is at an episode's
            start. The environment is then at the start of that episode.
        UserError: the snapshot is damaged.
    """
    name = _name(env)
    # Sets what cannot be stored, as it did for this episode.
    env.reset(seed=snapshot.episode_seed)
    try:
        put(env, snapshot.held)
    except NoStateError as error:
        raise NoStateError(f"{name}: {error}.") from error


def _name(env: gym.Env) -> str:
    """How messages call it. Raises NoStateError where not all of it can be known."""
    inner = env.unwrapped
    name = env.spec.id if env.spec is not None else type(inner).__name__
    if not isinstance(getattr(inner, "data", None), mujoco.MjData):
        raise NoStateError(f"{name} cannot be saved: it is no MuJoCo environment.")
    return name
