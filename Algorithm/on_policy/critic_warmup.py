"""Warm up the critic: train only its own parameters for the first env steps.

A new critic next to an already good actor gives meaningless advantages, and the first updates with
them would ruin the actor.
"""

from __future__ import annotations

from collections.abc import Iterator

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from Common.errors import UserError
from Models.student.policy import StudentPolicy


def critic_parameters(policy: ActorCriticPolicy) -> list[nn.Parameter]:
    """Return the parameters used for values only, without shared features.

    Raises:
        UserError: the policy is neither a student nor built like SB3's.
    """
    return [parameter for module in _critic_modules(policy) for parameter in module.parameters()]


def _critic_modules(policy: ActorCriticPolicy) -> Iterator[nn.Module]:
    if isinstance(policy, StudentPolicy):
        yield from policy.critic_modules().values()
        return
    if not isinstance(policy.mlp_extractor, MlpExtractor):
        raise UserError(
            f"critic_warmup cannot identify the critic's parameters of {type(policy).__name__}: "
            f"its mlp_extractor is a {type(policy.mlp_extractor).__name__}, not SB3's."
        )
    yield policy.mlp_extractor.value_net
    yield policy.value_net
    if not policy.share_features_extractor:
        yield policy.vf_features_extractor
