"""What a teacher sees where the student's environment normalises observations.

A teacher takes raw observations and applies the statistics that it was trained with. Those of a
VecNormalize around the student's environment may be others, and move while the student learns.
"""

from __future__ import annotations

import warnings

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from Algorithm.on_policy.rollout import Obs
from Common.errors import UserError
from Models.teacher.policy import Teacher


def normaliser_of(env: VecEnv | None) -> VecNormalize | None:
    """Return the wrapper that normalises this environment's observations, if one does.

    Raises:
        UserError: there is another wrapper around it that may change observations again. SB3's own
            VecTransposeImage may be there: what it does can be done to raw observations too.
    """
    inner = env
    while isinstance(inner, VecEnvWrapper):
        if isinstance(inner, VecNormalize) and inner.norm_obs:
            outer = env
            while isinstance(outer, VecTransposeImage):
                outer = outer.venv
            if inner is not outer:
                raise UserError(
                    f"{type(outer).__name__} lies around a VecNormalize that normalises "
                    "observations, so a teacher cannot be given the raw ones. Make VecNormalize "
                    "the outermost wrapper, or give it norm_obs=False."
                )
            return inner
        inner = inner.venv
    return None


def raw_observations(env: VecEnv, teacher: Teacher | None) -> Obs | None:
    """Return the last observations as they were before `env` normalised them, of groups those that the
    teacher reads; None: there is no teacher, or nothing normalises.
    """
    normaliser = None if teacher is None else normaliser_of(env)
    if teacher is None or normaliser is None:
        return None
    obs = normaliser.get_original_obs()
    outer = env
    while isinstance(outer, VecTransposeImage):
        obs, outer = outer.transpose_observations(obs), outer.venv
    return {g: obs[g] for g in teacher.observation_groups} if isinstance(obs, dict) else obs


def live_teacher(model: BaseAlgorithm, env: VecEnv | None) -> Teacher:
    """Return a frozen copy of a live SB3 model, with the statistics of its observations as they are now.

    They are those of the VecNormalize around the model's own environment. A model without an
    environment is taken to have been trained with the statistics of the student's, `env`.

    Raises:
        UserError: the model has parts that are not SB3's; or see `normaliser_of`.
    """
    normaliser = normaliser_of(env)
    if normaliser is not None and model.get_env() is None:
        warnings.warn(
            "The teacher has no environment, so it is given the statistics of the VecNormalize "
            "around the student's. If they are not its own, load it with env=.",
            stacklevel=3,
        )
        return Teacher.from_sb3(model, normaliser)
    return Teacher.from_sb3(model)
