"""A live SB3 model, as the adapters take it."""

from __future__ import annotations

from typing import Any

from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from Enviroment.errors import UserError
from Models.impala_extractor import ImpalaExtractor
from Models.sb3_agent import ADAPTERS, POLICY_KINDS, Agent

_ACTOR_CRITICS = (ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy)
_POLICIES: dict[type[nn.Module], str] = {
    SACPolicy: "sac",
    TQCPolicy: "tqc",
    CrossQPolicy: "crossq",
    TD3Policy: "td3",
    DQNPolicy: "dqn",
    QRDQNPolicy: "qrdqn",
}
_EXTRACTORS = (FlattenExtractor, NatureCNN, CombinedExtractor, ImpalaExtractor)


def live_agent(model: BaseAlgorithm) -> Agent:
    """What the model computes now; its tensors are still its own.

    Raises:
        UserError: its policy has parts that are not SB3's, or no adapter; names them.
    """
    policy: Any = model.policy
    source = f"the {type(model).__name__} model"
    kind = _policy_kind(policy, source)
    if getattr(model, "use_sde", False):
        raise UserError(f"{source}: an agent that explores by gSDE (use_sde) has no adapter.")
    _check_parts(policy, source)
    eps = next((m.eps for m in policy.modules() if hasattr(m, "ra_mean")), 0.001)
    return Agent(
        source=source,
        algo=_algo(model),
        policy=kind,
        state=policy.state_dict(),
        activation=policy.activation_fn.__name__,
        observation_space=model.observation_space,
        action_space=model.action_space,
        gamma=float(model.gamma),  # pyright: ignore[reportAttributeAccessIssue]
        normalize_images=policy.normalize_images,
        batch_norm_eps=eps,
        dropped_quantiles=getattr(model, "top_quantiles_to_drop_per_net", 0),
    )


def _policy_kind(policy: nn.Module, source: str) -> str:
    if type(policy) in _ACTOR_CRITICS:
        return "actor_critic"
    kind = next((kind for cls, kind in _POLICIES.items() if isinstance(policy, cls)), None)
    if kind is None or not type(policy).__module__.startswith(("stable_baselines3", "sb3_contrib")):
        raise UserError(
            f"{source} has a policy {type(policy).__module__}.{type(policy).__name__}, for which "
            "there is no adapter: only SB3's own policies can teach."
        )
    return kind


def _check_parts(policy: nn.Module, source: str) -> None:
    """Refuses what replaces a part of SB3's policy, which its tensors alone do not tell."""
    for name, module in policy.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, BaseFeaturesExtractor) and type(module) not in _EXTRACTORS:
            part = f"features extractor {type(module).__name__}"
        elif last == "mlp_extractor" and type(module) is not MlpExtractor:
            part = f"mlp_extractor {type(module).__name__}"
        else:
            continue
        raise UserError(
            f"{source} has a {part} of its own, for which there is no adapter: only SB3's own "
            "FlattenExtractor, NatureCNN and CombinedExtractor, and the ImpalaExtractor here, can "
            "teach."
        )


def _algo(model: BaseAlgorithm) -> str:
    """Its class's name, or that of the class of SB3's that it is made from."""
    names = [cls.__name__.lower() for cls in type(model).__mro__]
    known = {*POLICY_KINDS, *ADAPTERS} - {"actor_critic"}
    return next((name for name in names if name in known), names[0])
