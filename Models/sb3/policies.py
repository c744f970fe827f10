"""Compute distributions with an exact KL from SB3's own actor-critic policies."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common import distributions as sb3
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import Tensor

from Common.device import upload
from Common.errors import UserError
from Models.adam import FUSED_ADAM
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    from_sb3,
)
from Models.networks.recurrent import Past
from Models.student.policy import StudentPolicy

_FAMILY_OF_SPACE: dict[type[spaces.Space], type[Distribution]] = {
    spaces.Box: DiagGaussian,
    spaces.Discrete: Categorical,
    spaces.MultiDiscrete: MultiCategorical,
    spaces.MultiBinary: Bernoulli,
}


def distribution_and_value(
    policy: ActorCriticPolicy, obs: Any, past: Past | None = None
) -> tuple[Distribution, Tensor]:
    """Return distribution and values `(B,)` from one forward pass of any actor-critic policy.

    Args:
        past: of a recurrent student.
    """
    if isinstance(policy, StudentPolicy):
        return policy.distribution_and_value(obs, past)
    features = policy.extract_features(obs)
    if policy.share_features_extractor:
        latent_pi, latent_vf = policy.mlp_extractor(features)
    else:
        latent_pi = policy.mlp_extractor.forward_actor(features[0])
        latent_vf = policy.mlp_extractor.forward_critic(features[1])
    return _distribution(policy, latent_pi), policy.value_net(latent_vf).squeeze(-1)


def efficient(policy_class: type[BasePolicy], policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `policy_kwargs` with fused Adam for SB3's own policies, which use the plain one."""
    is_sb3s = policy_class in (
        ActorCriticPolicy,
        ActorCriticCnnPolicy,
        MultiInputActorCriticPolicy,
    )
    if not is_sb3s or {"optimizer_class", "optimizer_kwargs"} & policy_kwargs.keys():
        return policy_kwargs
    return {**policy_kwargs, "optimizer_kwargs": dict(FUSED_ADAM)}


def has_separate_critic(policy: ActorCriticPolicy) -> bool:
    """Return whether the critic shares no layer with the actor.

    If so, its values can be computed in one pass at the end of a rollout.
    """
    return (
        not isinstance(policy, StudentPolicy)
        and type(policy.mlp_extractor) is MlpExtractor
        and not any(True for _ in policy.features_extractor.parameters())
    )


def act(policy: ActorCriticPolicy, obs: Any) -> tuple[Distribution, Tensor | None]:
    """Return the distributions of the actions, and the values unless they can be deferred."""
    if not has_separate_critic(policy):
        return distribution_and_value(policy, obs)
    features = BasePolicy.extract_features(policy, obs, policy.pi_features_extractor)
    return _distribution(policy, policy.mlp_extractor.forward_actor(features)), None


def _distribution(policy: ActorCriticPolicy, latent_pi: Tensor) -> Distribution:
    method = ActorCriticPolicy._get_action_dist_from_latent
    is_sb3s = type(policy)._get_action_dist_from_latent is method
    if not (is_sb3s and type(policy.action_dist) is sb3.DiagGaussianDistribution):
        return from_sb3(policy._get_action_dist_from_latent(latent_pi))
    # The same without SB3's objects, which cost more than the layers of a small network.
    mean = policy.action_net(latent_pi)
    # A copy: a rollout keeps it while the parameter is trained.
    return DiagGaussian(mean, policy.log_std.clone().expand_as(mean))


def within_bounds(policy: ActorCriticPolicy, actions: Tensor) -> np.ndarray:
    """Return actions for the environment: scale squashed ones to the bounds, clip others."""
    array, space = actions.cpu().numpy(), policy.action_space
    if not isinstance(space, spaces.Box):
        return array
    array = array.reshape(-1, *space.shape)  # (n_envs, *action shape)
    if policy.squash_output:
        return policy.unscale_action(array)  # pyright: ignore[reportReturnType]
    return array.clip(space.low, space.high)


def within_bounds_on_device(policy: ActorCriticPolicy, actions: Tensor) -> Tensor:
    """Return what `within_bounds` returns, as a tensor on the device of the actions."""
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        return actions
    low, high = (upload(bound, actions.device) for bound in (space.low, space.high))
    actions = actions.reshape(-1, *space.shape)  # (n_envs, *action shape)
    if policy.squash_output:
        return low + 0.5 * (actions + 1.0) * (high - low)
    return actions.clamp(low, high)


def check_families(teacher: str, policy: ActorCriticPolicy) -> None:
    """Raise UserError unless student and teacher have the same family of actions."""
    student = family_of(policy)
    if teacher != student:
        raise UserError(
            f"The teacher's actions are {teacher}, the student's {student}: their KL is infinite "
            "in one direction and has no closed form in the other. Give the student the family "
            f"{teacher}."
        )


def family_of(policy: ActorCriticPolicy) -> str:
    """Return the family of a policy's action distribution."""
    if isinstance(policy, StudentPolicy):
        return policy.config.family
    space = policy.action_space
    return next(dist.family for kind, dist in _FAMILY_OF_SPACE.items() if isinstance(space, kind))
