"""Training the critic alone: which parameters are its own.

A critic that begins anew beside an actor that is good already gives advantages that mean nothing,
and the first updates by them spoil the actor. So for the first env steps only the critic learns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from Common.errors import UserError
from Models.student.policy import StudentPolicy


def critic_parameters(policy: ActorCriticPolicy) -> list[nn.Parameter]:
    """Return the parameters that decide values and nothing else; shared features are not among them.

    Raises:
        UserError: the policy is neither a student nor built as SB3's are.
    """
    return [parameter for module in _critic_modules(policy) for parameter in module.parameters()]


def _critic_modules(policy: ActorCriticPolicy) -> Iterator[nn.Module]:
    if isinstance(policy, StudentPolicy):
        yield from policy.critic_modules().values()
        return
    if not isinstance(policy.mlp_extractor, MlpExtractor):
        raise UserError(
            f"critic_warmup cannot tell which parameters of {type(policy).__name__} are its "
            f"critic's: its mlp_extractor is a {type(policy.mlp_extractor).__name__}, not SB3's."
        )
    yield policy.mlp_extractor.value_net
    yield policy.value_net
    if not policy.share_features_extractor:
        yield policy.vf_features_extractor


def check_warmup(critic_warmup: int, rollout: int, total_timesteps: float = math.inf) -> None:
    """Refuse a warm-up that would not be one; all three are env steps.

    Args:
        rollout: of all environments together; a warm-up is of whole rollouts.
        total_timesteps: of the training, where it is known.

    Raises:
        UserError: it is below 0, shorter than a rollout, or leaves nothing for the actor.
    """
    if critic_warmup < 0:
        raise UserError(f"`critic_warmup` {critic_warmup} cannot be below 0 env steps.")
    if 0 < critic_warmup < rollout:
        raise UserError(
            f"`critic_warmup` {critic_warmup} is below one rollout of {rollout} env steps, so it "
            "would do nothing. Raise it."
        )
    if critic_warmup >= total_timesteps:
        raise UserError(
            f"`critic_warmup` {critic_warmup} leaves nothing of `total_timesteps` "
            f"{total_timesteps:g} for the actor. Lower it."
        )
