"""Capture and restore training environments inside SB3's wrappers, bit-for-bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from Algorithm.on_policy.rollout import Obs
from Common.errors import NoStateError
from Enviroment.episode_env import EpisodeVecEnv
from Enviroment.simulation.state import EnvState, Savable, savable


def capture_env(env: VecEnv) -> dict[str, Any]:
    """Return the statistics of each `VecNormalize`, and the state of the environments.

    If the environments cannot be saved, `environments` is None and `reason` gives the reason;
    `episodes_begun` is the largest number of episodes that any environment has begun.

    Returns: a state that `Common.runs.packing.pack` accepts.
    """
    normalisers = [_capture_normaliser(normaliser) for normaliser in _normalisers(env)]
    environments, reason = None, ""
    try:
        state = _inner(env).save_state()
        environments = {"arrays": state.arrays, "values": state.values}
    except NoStateError as error:
        reason = str(error)
    begun = env.unwrapped
    return {
        "normalisers": normalisers,
        "environments": environments,
        "reason": reason,
        "episodes_begun": int(begun.episodes_begun.max())
        if isinstance(begun, EpisodeVecEnv)
        else None,
    }


def restore_env(env: VecEnv, state: dict[str, Any]) -> tuple[Obs, bool]:
    """Restore a state of `capture_env`.

    If the environments were not saved or cannot be restored, warn and begin new episodes in all of
    them. An `EpisodeVecEnv` continues after the episodes that had begun, counted from its last
    seed.

    Returns:
        The observation that a policy acts on next, and whether new episodes begin. The observation
        has the memory layout of the environments' own, because the last bits of a network's output
        depend on it.

    Raises:
        UserError: the state is of other environments.
    """
    for normaliser, saved in zip(_normalisers(env), state["normalisers"], strict=True):
        _restore_normaliser(normaliser, saved)
    environments, reason = state["environments"], state.get("reason", "")
    if environments is not None:
        saved = EnvState(environments["arrays"], environments["values"])
        try:
            return _normalised(env, _inner(env).restore_state(saved)), False
        except NoStateError as error:
            reason = str(error)
    warnings.warn(
        f"{reason} The run therefore continues at the start of an episode in each environment, "
        "and not bit-for-bit.",
        stacklevel=3,
    )
    unwrapped, begun = env.unwrapped, state.get("episodes_begun")
    if isinstance(unwrapped, EpisodeVecEnv) and begun is not None:
        unwrapped.skip_episodes(begun)
    return env.reset(), True  # pyright: ignore[reportReturnType]


def _normalised(env: VecEnv, obs: Obs) -> Obs:
    """Apply SB3's wrappers to an observation of the inner environments."""
    for wrapper in reversed(list(_wrappers(env))):
        if isinstance(wrapper, VecNormalize):
            wrapper.old_obs = obs
            obs = wrapper.normalize_obs(obs)
        elif isinstance(wrapper, VecTransposeImage):
            obs = wrapper.transpose_observations(obs)
    return obs


def all_statistics(env: VecEnv) -> list[RunningMeanStd]:
    """Return the statistics of each `VecNormalize`, without copies."""
    return [rms for normaliser in _normalisers(env) for rms in _statistics(normaliser).values()]


def _wrappers(env: VecEnv) -> Iterator[VecEnvWrapper]:
    """Yield the wrappers, outermost first."""
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv


def _normalisers(env: VecEnv) -> list[VecNormalize]:
    return [wrapper for wrapper in _wrappers(env) if isinstance(wrapper, VecNormalize)]


def _inner(env: VecEnv) -> Savable:
    """Return the inner environments. Raise NoStateError for wrappers with an unknown state."""
    for wrapper in _wrappers(env):
        if not isinstance(wrapper, VecNormalize | VecTransposeImage):
            raise NoStateError(f"The state of {type(wrapper).__name__} is unknown.")
    return savable(env)


def _capture_normaliser(normaliser: VecNormalize) -> dict[str, Any]:
    statistics = {name: _moments(rms) for name, rms in _statistics(normaliser).items()}
    return {"statistics": statistics, "returns": normaliser.returns}


def _restore_normaliser(normaliser: VecNormalize, state: dict[str, Any]) -> None:
    for name, rms in _statistics(normaliser).items():
        saved = state["statistics"][name]
        # [()]: a statistic of one number is a NumPy scalar, not an array.
        rms.mean, rms.var, rms.count = saved["mean"][()], saved["var"][()], saved["count"]
    normaliser.returns = state["returns"]


def _statistics(normaliser: VecNormalize) -> dict[str, RunningMeanStd]:
    """Return the statistics by name; those of observations only if they are normalised."""
    statistics = {"reward": normaliser.ret_rms}
    if normaliser.norm_obs:
        obs_rms = normaliser.obs_rms
        groups = obs_rms if isinstance(obs_rms, dict) else {"": obs_rms}
        statistics |= {f"obs {group}": rms for group, rms in groups.items()}
    return statistics


def _moments(rms: RunningMeanStd) -> dict[str, Any]:
    return {"mean": np.asarray(rms.mean), "var": np.asarray(rms.var), "count": float(rms.count)}
