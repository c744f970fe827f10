"""Training environments inside SB3's wrappers, taken down and put back to the bit."""

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
    """Statistics of each `VecNormalize`, and the environments themselves where they can be saved;
    where they cannot, how many episodes have begun in the one that has begun most.

    Returns: what `Common.runs.packing.pack` takes. Where they cannot be saved, `environments` is
    None, and `reason` says why.
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
    """Goes on from what `capture_env` took. Where the environments could not be saved, or cannot be
    restored, new episodes begin in all of them, and a warning says so: of an `EpisodeVecEnv` those
    after the ones that had begun, counted from the seed that it was given last.

    Returns:
        The observation that a policy acts on next, and whether new episodes begin. It lies in
        memory as the environments' own observations do, on which the last bits of what a network
        makes of it depend.

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
        f"{reason} So the run goes on at the start of an episode in each environment, and not "
        "bit-for-bit.",
        stacklevel=3,
    )
    unwrapped, begun = env.unwrapped, state.get("episodes_begun")
    if isinstance(unwrapped, EpisodeVecEnv) and begun is not None:
        unwrapped.skip_episodes(begun)
    return env.reset(), True  # pyright: ignore[reportReturnType]


def _normalised(env: VecEnv, obs: Obs) -> Obs:
    """What SB3's wrappers make of an observation of the environments inside them."""
    for wrapper in reversed(list(_wrappers(env))):
        if isinstance(wrapper, VecNormalize):
            wrapper.old_obs = obs
            obs = wrapper.normalize_obs(obs)
        elif isinstance(wrapper, VecTransposeImage):
            obs = wrapper.transpose_observations(obs)
    return obs


def all_statistics(env: VecEnv) -> list[RunningMeanStd]:
    """Those of each `VecNormalize`, themselves."""
    return [rms for normaliser in _normalisers(env) for rms in _statistics(normaliser).values()]


def _wrappers(env: VecEnv) -> Iterator[VecEnvWrapper]:
    """Outermost first."""
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv


def _normalisers(env: VecEnv) -> list[VecNormalize]:
    return [wrapper for wrapper in _wrappers(env) if isinstance(wrapper, VecNormalize)]


def _inner(env: VecEnv) -> Savable:
    """Raises NoStateError where a wrapper may keep a state of its own, as `VecFrameStack` does."""
    for wrapper in _wrappers(env):
        if not isinstance(wrapper, VecNormalize | VecTransposeImage):
            raise NoStateError(f"Nothing is known of the state of {type(wrapper).__name__}.")
    return savable(env)


def _capture_normaliser(normaliser: VecNormalize) -> dict[str, Any]:
    statistics = {name: _moments(rms) for name, rms in _statistics(normaliser).items()}
    return {"statistics": statistics, "returns": normaliser.returns}


def _restore_normaliser(normaliser: VecNormalize, state: dict[str, Any]) -> None:
    for name, rms in _statistics(normaliser).items():
        saved = state["statistics"][name]
        # [()]: a statistic of one number is a scalar of NumPy's, not an array.
        rms.mean, rms.var, rms.count = saved["mean"][()], saved["var"][()], saved["count"]
    normaliser.returns = state["returns"]


def _statistics(normaliser: VecNormalize) -> dict[str, RunningMeanStd]:
    """By name; observations have statistics only where they are normalised."""
    statistics = {"reward": normaliser.ret_rms}
    if normaliser.norm_obs:
        obs_rms = normaliser.obs_rms
        groups = obs_rms if isinstance(obs_rms, dict) else {"": obs_rms}
        statistics |= {f"obs {group}": rms for group, rms in groups.items()}
    return statistics


def _moments(rms: RunningMeanStd) -> dict[str, Any]:
    return {"mean": np.asarray(rms.mean), "var": np.asarray(rms.var), "count": float(rms.count)}
