"""Create an untrained agent and its environments from the settings."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib import TQC
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from Algorithm.policy_gradient.loop import PolicyGradient
from Algorithm.policy_gradient.methods import REINFORCE, ActorCritic
from Common.device import fastest_precision
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FRAME
from Enviroment.task import Task
from Models.adam import FUSED_ADAM
from Models.networks.impala_extractor import ImpalaExtractor
from Models.networks.layers import activation_class
from Train_Teacher.settings.config import (
    PPOTeacherConfig,
    SACTeacherConfig,
    SB3Config,
    TeacherConfig,
    TQCTeacherConfig,
)
from Train_Teacher.settings.goals import GoalReplayBuffer, make_goal_env
from Train_Teacher.settings.policy_gradient import ReinforceTeacherConfig

CLIP_OBSERVATION = 10.0  # standard deviations


def make_teacher_env(task: Task, config: TeacherConfig, n_envs: int, seed: int) -> VecEnv:
    """Create environments with the observations of a teacher.

    These are the state, in groups for HER, or frames of games.
    """
    if task.is_game:
        return make_env(task, n_envs, seed)
    if uses_her(config):
        return make_goal_env(task, n_envs, seed)
    return make_state_env(task, n_envs, seed)


def uses_her(config: TeacherConfig) -> bool:
    """Return whether the training replays hindsight goals."""
    return isinstance(config, SACTeacherConfig) and config.hindsight_goals > 0


def normalise(env: VecEnv, config: TeacherConfig) -> VecNormalize:
    """Wrap `env` with running normalisation of states and, depending on the settings, of rewards.

    Frames are not normalised. With the policy gradient methods, nothing is normalised.
    """
    if not isinstance(config, SB3Config):
        return VecNormalize(
            env,
            norm_obs=False,
            norm_reward=False,
            clip_obs=math.inf,
            gamma=config.gamma,
            epsilon=0.0,
        )
    return VecNormalize(
        env,
        norm_obs=not _sees_frames(env),
        norm_reward=config.norm_reward,
        clip_obs=CLIP_OBSERVATION,
        gamma=config.gamma,
    )


def _sees_frames(env: VecEnv) -> bool:
    space = env.observation_space
    return isinstance(space, spaces.Dict) and FRAME in space.spaces


def make_agent(
    config: TeacherConfig, env: VecNormalize, device: torch.device, seed: int
) -> PPO | SAC | TQC | PolicyGradient:
    """Return an untrained agent.

    SB3 also seeds `env` with `seed`: seed the environments again before training.
    """
    if isinstance(config, SB3Config):
        return _sb3_agent(config, env, device, seed)
    agent_class = REINFORCE if isinstance(config, ReinforceTeacherConfig) else ActorCritic
    names = [field.name for field in fields(agent_class.config_class)]
    policy_kwargs = {
        "net_arch": list(config.net_arch),
        "activation_fn": activation_class(config.activation),
    }
    return agent_class(
        "MlpPolicy",
        env,
        policy_kwargs=policy_kwargs,
        device=device,
        seed=seed,
        **{name: getattr(config, name) for name in names},
    )


def _sb3_agent(
    config: SB3Config, env: VecNormalize, device: torch.device, seed: int
) -> PPO | SAC | TQC:
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
        # One kernel for all parameters: for small networks, the optimizer's overhead dominates.
        "optimizer_kwargs": {"fused": True},
    }
    if isinstance(config, PPOTeacherConfig):
        # With SB3's epsilon for PPO, which is dropped if any optimizer_kwargs are passed.
        policy_kwargs["optimizer_kwargs"] = {**FUSED_ADAM}
        if _sees_frames(env):
            policy_kwargs |= _cnn(config, device)
        return PPO(
            "MultiInputPolicy" if _sees_frames(env) else "MlpPolicy",
            env,
            n_steps=config.n_steps,
            n_epochs=config.n_epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            policy_kwargs=policy_kwargs,
            **shared,
        )
    shared |= {
        "buffer_size": config.buffer_size,
        "learning_starts": config.learning_starts,
        "gradient_steps": config.gradient_steps,
        "tau": config.tau,
        "ent_coef": _ent_coef(config.ent_coef),
    }
    policy = "MlpPolicy"
    if uses_her(config):
        policy = "MultiInputPolicy"
        shared["replay_buffer_class"] = GoalReplayBuffer
        shared["replay_buffer_kwargs"] = {"n_sampled_goal": config.hindsight_goals}
    if isinstance(config, TQCTeacherConfig):
        policy_kwargs["n_quantiles"] = config.n_quantiles
        shared["top_quantiles_to_drop_per_net"] = config.top_quantiles_to_drop
        return TQC(policy, env, policy_kwargs=policy_kwargs, **shared)
    return SAC(policy, env, policy_kwargs=policy_kwargs, **shared)


def _cnn(config: PPOTeacherConfig, device: torch.device) -> dict[str, Any]:
    """Return policy arguments for the CNN of the settings and the hidden layers after it."""
    connected, *rest = config.net_arch
    if config.cnn == "nature":
        return {
            "features_extractor_class": CombinedExtractor,
            "features_extractor_kwargs": {"cnn_output_dim": connected},
            "net_arch": rest,
        }
    precision = fastest_precision(device)
    return {
        "features_extractor_class": ImpalaExtractor,
        "features_extractor_kwargs": {"features_dim": connected, "precision": precision},
        "share_features_extractor": False,
        "net_arch": rest,
    }


def _ent_coef(value: str) -> str | float:
    return value if value.startswith("auto") else float(value)
