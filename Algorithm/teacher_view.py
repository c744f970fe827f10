"""Get raw observations for the teacher from an environment that normalises them.

A teacher takes raw observations and applies the statistics of its own training. Those of a
VecNormalize around the student's environment may differ, and change while the student learns.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from Algorithm.on_policy.rollout import Obs
from Common.errors import UserError
from Models.teacher.adoption import adopt
from Models.teacher.policy import Teacher


def normaliser_of(env: VecEnv | None) -> VecNormalize | None:
    """Return the wrapper that normalises this environment's observations, or None.

    Raises:
        UserError: another wrapper around it may change observations again. Only SB3's
            VecTransposeImage is allowed, because it can be applied to raw observations too.
    """
    inner = env
    while isinstance(inner, VecEnvWrapper):
        if isinstance(inner, VecNormalize) and inner.norm_obs:
            outer = env
            while isinstance(outer, VecTransposeImage):
                outer = outer.venv
            if inner is not outer:
                raise UserError(
                    f"{type(outer).__name__} wraps a VecNormalize that normalises observations, "
                    "so the teacher cannot get the raw ones. Make VecNormalize the outermost "
                    "wrapper, or give it norm_obs=False."
                )
            return inner
        inner = inner.venv
    return None


def raw_observations(env: VecEnv, teacher: Teacher | None) -> Obs | None:
    """Return the last observations before normalisation, of groups those of the teacher.

    Return None if there is no teacher or no normalisation.
    """
    normaliser = None if teacher is None else normaliser_of(env)
    if teacher is None or normaliser is None:
        return None
    obs = normaliser.get_original_obs()
    outer = env
    while isinstance(outer, VecTransposeImage):
        obs, outer = outer.transpose_observations(obs), outer.venv
    return {g: obs[g] for g in teacher.observation_groups} if isinstance(obs, dict) else obs


def teacher_in(given: Any, env: VecEnv | None) -> Teacher:
    """Return what a user gave as `teacher` as a teacher of this environment.

    Args:
        given: a teacher, or a live SB3 model, which is copied.
        env: if its task is a user's own, the teacher is adopted (`Models.teacher.adoption`).

    Raises:
        UserError: it is neither, or lacks something of the environment; or see `live_teacher`.
    """
    if isinstance(given, str | Path):
        raise UserError(f"`teacher` is the path {given}. Load it: Teacher.load({str(given)!r}).")
    if isinstance(given, BaseAlgorithm):
        given = live_teacher(given, env)
    if not isinstance(given, Teacher):
        raise UserError(
            f"`teacher` is a {type(given).__name__}, not a Teacher or a model of Stable-Baselines3."
            " Others have no action distribution to learn from: record their actions, and clone "
            "the recording (`vision_distillation.clone`)."
        )
    task = getattr(env, "task", None)
    return given if task is None else adopt(given, task)


def live_teacher(model: BaseAlgorithm, env: VecEnv | None) -> Teacher:
    """Return a frozen copy of a live SB3 model with the current statistics of its observations.

    The statistics are those of the VecNormalize around the model's own environment. A model without
    an environment is assumed to have been trained with those of the student's environment, `env`.

    Raises:
        UserError: the model has parts that are not SB3's; or see `normaliser_of`.
    """
    normaliser = normaliser_of(env)
    if normaliser is not None and model.get_env() is None:
        warnings.warn(
            "The teacher has no environment, so it gets the statistics of the VecNormalize around "
            "the student's. If they are not its own, load it with env=.",
            stacklevel=3,
        )
        return Teacher.from_sb3(model, normaliser)
    return Teacher.from_sb3(model)
