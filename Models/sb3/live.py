"""A live SB3 model, as the adapters take it."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from sb3_contrib.ars.policies import ARSPolicy
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

from Common.errors import UserError
from Models.networks.impala_extractor import ImpalaExtractor
from Models.sb3.adapters import ADAPTERS, POLICY_KINDS, Agent

_ACTOR_CRITICS = (ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy)
_POLICIES: dict[type[nn.Module], str] = {
    SACPolicy: "sac",
    TQCPolicy: "tqc",
    CrossQPolicy: "crossq",
    TD3Policy: "td3",
    DQNPolicy: "dqn",
    QRDQNPolicy: "qrdqn",
    ARSPolicy: "ars",
}
_EXTRACTORS = (FlattenExtractor, NatureCNN, CombinedExtractor, ImpalaExtractor)
_NETWORKS = ("actor", "critic", "q_net", "quantile_net")
_DISTRIBUTIONS = "stable_baselines3.common.distributions"
_CODE = (FunctionType, property, staticmethod, classmethod)


def live_agent(model: BaseAlgorithm) -> Agent:
    """What the model computes now; its tensors are still its own.

    Raises:
        UserError: its policy has parts that are not SB3's, or no adapter; names them.
    """
    policy: Any = model.policy
    source = f"the {type(model).__name__} model"
    kind = _policy_kind(policy, source)
    _check_parts(policy, source)
    eps = next((m.eps for m in policy.modules() if hasattr(m, "ra_mean")), 0.001)
    # gSDE's settings are the actor's where there is one, else the distribution's.
    actor = getattr(policy, "actor", None)
    sde = getattr(policy, "action_dist", None) if actor is None else actor
    return Agent(
        source=source,
        algo=_algo(model),
        policy=kind,
        state=policy.state_dict(),
        activation=policy.activation_fn.__name__,
        observation_space=model.observation_space,
        action_space=model.action_space,
        gamma=float(getattr(model, "gamma", 1.0)),  # ARS discounts nothing
        normalize_images=policy.normalize_images,
        batch_norm_eps=eps,
        dropped_quantiles=getattr(model, "top_quantiles_to_drop_per_net", 0),
        squash_output=bool(policy.squash_output),
        use_expln=bool(getattr(sde, "use_expln", False)),
        clip_mean=float(getattr(actor, "clip_mean", 2.0)),
        modules=None if own_extractor(policy) is None else policy,
    )


def _policy_kind(policy: nn.Module, source: str) -> str:
    """A key of ADAPTERS. A class of the user's own may make SB3's parts differently, but must
    compute what SB3's computes.
    """
    kinds = {**dict.fromkeys(_ACTOR_CRITICS, "actor_critic"), **_POLICIES}
    own = f"{type(policy).__module__}.{type(policy).__name__}"
    changed: set[str] = set()
    for cls in type(policy).__mro__:
        if cls in kinds:
            if not changed:
                return kinds[cls]
            raise UserError(
                f"{source} has a policy {own} with {', '.join(sorted(changed))} of its own, so "
                "its tensors do not tell what it does, and it cannot teach."
            )
        if not cls.__module__.startswith(("stable_baselines3.", "sb3_contrib.")):
            changed |= {name for name, value in vars(cls).items() if isinstance(value, _CODE)}
            changed.discard("__init__")
        elif all(cls.__module__ != kind.__module__ for kind in kinds):
            break  # another kind of policy, such as a recurrent one
    raise UserError(
        f"{source} has a policy {own}, for which there is no adapter: only SB3's own policies, and "
        "classes made from them that compute the same, can teach."
    )


def own_extractor(policy: nn.Module) -> type[nn.Module] | None:
    """The class of a features extractor that is not SB3's, if there is one."""
    for module in policy.modules():
        if isinstance(module, BaseFeaturesExtractor) and type(module) not in _EXTRACTORS:
            return type(module)
    return None


def _check_parts(policy: nn.Module, source: str) -> None:
    """Refuses what replaces a part of SB3's policy, which its tensors alone do not tell."""
    for name, module in policy.named_modules():
        last = name.rpartition(".")[2]
        is_foreign = not type(module).__module__.startswith(("stable_baselines3.", "sb3_contrib."))
        if (last == "mlp_extractor" and type(module) is not MlpExtractor) or (
            name in _NETWORKS and is_foreign
        ):
            raise UserError(
                f"{source} has a part {last} of its own, {type(module).__name__}, for which there "
                "is no adapter: of its parts only the features extractor may be one's own."
            )
    distribution = getattr(policy, "action_dist", None)
    if distribution is not None and type(distribution).__module__ != _DISTRIBUTIONS:
        raise UserError(
            f"{source} has an action distribution {type(distribution).__name__} of its own, for "
            "which there is no adapter."
        )


def _algo(model: BaseAlgorithm) -> str:
    """Its class's name, or that of the class of SB3's that it is made from."""
    names = [cls.__name__.lower() for cls in type(model).__mro__]
    known = {*POLICY_KINDS, *ADAPTERS} - {"actor_critic"}
    return next((name for name in names if name in known), names[0])
