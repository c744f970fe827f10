"""A fresh SB3 agent and its normalised environment, from the settings alone."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from Train_Teacher.config import PPOTeacherConfig, TeacherConfig, activation_class

CLIP_OBSERVATION = 10.0  # standard deviations


def normalise(env: VecEnv, config: TeacherConfig) -> VecNormalize:
    """`env` with running normalisation of states and, if the settings ask for it, rewards."""
    return VecNormalize(
        env, norm_reward=config.norm_reward, clip_obs=CLIP_OBSERVATION, gamma=config.gamma
    )


def make_agent(
    config: TeacherConfig, env: VecNormalize, device: torch.device, seed: int
) -> PPO | SAC:
    """An untrained agent.

    SB3 seeds `env` with `seed` as well: seed the environments anew before learning.
    """
    shared: dict[str, Any] = {
        "learning_rate": LinearSchedule(config.learning_rate, config.final_learning_rate, 1.0),
        "batch_size": config.batch_size,
        "gamma": config.gamma,
        "device": device,
        "seed": seed,
    }
    policy_kwargs: dict[str, Any] = {
        "net_arch": list(config.net_arch),
        "activation_fn": activation_class(config.activation),
        # One kernel for all parameters: at this size the optimizer's own overhead is what costs.
        "optimizer_kwargs": {"fused": True},
    }
    if isinstance(config, PPOTeacherConfig):
        # SB3's own default for PPO, which passing any optimizer_kwargs would drop.
        policy_kwargs["optimizer_kwargs"]["eps"] = 1e-5
        return PPO(
            "MlpPolicy",
            env,
            n_steps=config.n_steps,
            n_epochs=config.n_epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            policy_kwargs=policy_kwargs,
            **shared,
        )
    return SAC(
        "MlpPolicy",
        env,
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        gradient_steps=config.gradient_steps,
        tau=config.tau,
        ent_coef=_ent_coef(config.ent_coef),
        policy_kwargs=policy_kwargs,
        **shared,
    )


def _ent_coef(value: str) -> str | float:
    return value if value.startswith("auto") else float(value)
