"""SB3's own actor-critic policies, asked for a distribution that has an exact KL."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    from_sb3,
)
from Models.student import StudentPolicy

_FAMILY_OF_SPACE: dict[type[spaces.Space], type[Distribution]] = {
    spaces.Box: DiagGaussian,
    spaces.Discrete: Categorical,
    spaces.MultiDiscrete: MultiCategorical,
    spaces.MultiBinary: Bernoulli,
}


def distribution_and_value(policy: ActorCriticPolicy, obs: Any) -> tuple[Distribution, Tensor]:
    """One forward pass of any actor-critic policy; the values are `(B,)`."""
    if isinstance(policy, StudentPolicy):
        return policy.distribution_and_value(obs)
    features = policy.extract_features(obs)
    if policy.share_features_extractor:
        latent_pi, latent_vf = policy.mlp_extractor(features)
    else:
        latent_pi = policy.mlp_extractor.forward_actor(features[0])
        latent_vf = policy.mlp_extractor.forward_critic(features[1])
    distribution = from_sb3(policy._get_action_dist_from_latent(latent_pi))
    return distribution, policy.value_net(latent_vf).squeeze(-1)


def within_bounds(policy: ActorCriticPolicy, actions: Tensor) -> np.ndarray:
    """Actions as the environment takes them: squashed ones scaled to the bounds, others clipped."""
    array, space = actions.cpu().numpy(), policy.action_space
    if not isinstance(space, spaces.Box):
        return array
    array = array.reshape(-1, *space.shape)  # (n_envs, *action shape)
    if policy.squash_output:
        return policy.unscale_action(array)  # pyright: ignore[reportReturnType]
    return array.clip(space.low, space.high)


def family_of(policy: ActorCriticPolicy) -> str:
    """The family of a policy's action distribution."""
    if isinstance(policy, StudentPolicy):
        return policy.config.family
    space = policy.action_space
    return next(dist.family for kind, dist in _FAMILY_OF_SPACE.items() if isinstance(space, kind))
