"""One simulation's complete state, as plain data."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from Enviroment.errors import NoStateError, UserError

# Time, positions, velocities, controls, applied forces and the solver's warm start: all that
# MuJoCo's next step depends on.
_SPEC = int(mujoco.mjtState.mjSTATE_INTEGRATION)

# What MuJoCo computed on the way to that state. The next step computes it anew, but Gymnasium's
# environments and renderers read some of it before that. `mj_forward` would not bring it back:
# after a step it belongs to the beginning of the last substep, not to the positions as they are.
_DERIVED = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis", "geom_xpos", "geom_xmat"),
    *("geom_xquat", "site_xpos", "site_xmat", "site_xquat", "cam_xpos", "cam_xmat"),
    *("light_xpos", "light_xdir", "subtree_com", "cinert", "cvel", "cacc", "cfrc_int", "cfrc_ext"),
    *("qacc", "qfrc_actuator", "qfrc_bias", "qfrc_passive", "qfrc_constraint"),
    *("actuator_length", "actuator_velocity", "actuator_force", "sensordata", "energy"),
)


@dataclass(frozen=True)
class Snapshot:
    """All that decides how one environment goes on."""

    physics: np.ndarray  # float64 (S,): MuJoCo's integration state
    derived: np.ndarray  # float64 (D,)
    episode_seed: int  # with which the running episode was reset
    elapsed_steps: int  # env steps, as the time limit counts them
    generator: dict[str, Any]  # state of the environment's bit generator, JSON-able


def find_time_limit(env: gym.Env) -> TimeLimit | None:
    """The wrapper that cuts this environment's episodes off, if there is one."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return env
        env = env.env
    return None


def take_snapshot(env: gym.Env) -> Snapshot:
    """The environment as it is now. It must have been reset.

    Raises:
        NoStateError: it is not one of Gymnasium's MuJoCo environments with a time limit, or it
            has wrappers whose state is not known.
        RuntimeError: it has not been reset.
    """
    simulation, limit = _savable(env)
    if limit._elapsed_steps is None:
        raise RuntimeError("Reset the environments before their state is saved.")
    physics = np.empty(mujoco.mj_stateSize(simulation.model, _SPEC))
    mujoco.mj_getState(simulation.model, simulation.data, physics, _SPEC)
    return Snapshot(
        physics=physics,
        derived=np.concatenate([getattr(simulation.data, name).ravel() for name in _DERIVED]),
        episode_seed=int(simulation.np_random_seed),
        elapsed_steps=int(limit._elapsed_steps),
        generator=dict(simulation.np_random.bit_generator.state),
    )


def restore_snapshot(env: gym.Env, snapshot: Snapshot) -> None:
    """Bring an environment of the same task to where the snapshot was taken.

    Raises:
        NoStateError: as `take_snapshot`.
        UserError: the snapshot is of another model, or damaged.
    """
    simulation, limit = _savable(env)
    sizes = [getattr(simulation.data, name).size for name in _DERIVED]
    n_physics = mujoco.mj_stateSize(simulation.model, _SPEC)
    if snapshot.physics.shape != (n_physics,) or snapshot.derived.shape != (sum(sizes),):
        raise UserError(
            f"The saved state does not fit {type(simulation).__name__}: it has "
            f"{snapshot.physics.size} and {snapshot.derived.size} numbers, not {n_physics} and "
            f"{sum(sizes)}. It may come from another version of MuJoCo."
        )
    # The reset sets what the environment keeps outside of MuJoCo, as it did for this episode.
    env.reset(seed=snapshot.episode_seed)
    limit._elapsed_steps = snapshot.elapsed_steps
    try:
        simulation.np_random.bit_generator.state = snapshot.generator
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"The saved state's random generator cannot be restored: {error}."
        ) from error
    mujoco.mj_setState(simulation.model, simulation.data, snapshot.physics, _SPEC)
    parts = np.split(snapshot.derived, np.cumsum(sizes)[:-1])
    for name, part in zip(_DERIVED, parts, strict=True):
        values = getattr(simulation.data, name)
        values[:] = part.reshape(values.shape)


def _savable(env: gym.Env) -> tuple[MujocoEnv, TimeLimit]:
    simulation, limit = env.unwrapped, find_time_limit(env)
    name = env.spec.id if env.spec is not None else type(simulation).__name__
    if not isinstance(simulation, MujocoEnv):
        raise NoStateError(f"{name} cannot be saved: it is no MuJoCo environment of Gymnasium's.")
    if limit is None:
        raise NoStateError(f"{name} cannot be saved: it has no time limit.")
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, TimeLimit | OrderEnforcing | PassiveEnvChecker):
            wrapper = type(env).__name__
            raise NoStateError(f"{name} cannot be saved: nothing is known of its {wrapper}.")
        env = env.env
    return simulation, limit
