"""Read a live SB3 model for the adapters."""

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
    """Return the current agent of a model. Its tensors are not copied.

    Raises:
        UserError: the policy has parts that are not SB3's, or no adapter. The message names them.
    """
    if not isinstance(model, BaseAlgorithm):
        raise UserError(
            f"{model!r:.80} is no model of Stable-Baselines3. Load a zip file by the class of its "
            "agent, such as PPO.load, or convert it: python -m Models.teacher convert."
        )
    policy: Any = model.policy
    source = f"the {type(model).__name__} model"
    kind = _policy_kind(policy, source)
    _check_parts(policy, source)
    eps = next((m.eps for m in policy.modules() if hasattr(m, "ra_mean")), 0.001)
    # gSDE's settings are attributes of the actor if there is one, else of the distribution.
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
        gamma=float(getattr(model, "gamma", 1.0)),  # ARS does not discount
        normalize_images=policy.normalize_images,
        batch_norm_eps=eps,
        dropped_quantiles=getattr(model, "top_quantiles_to_drop_per_net", 0),
        squash_output=bool(policy.squash_output),
        use_expln=bool(getattr(sde, "use_expln", False)),
        clip_mean=float(getattr(actor, "clip_mean", 2.0)),
        modules=None if own_extractor(policy) is None else policy,
    )


def _policy_kind(policy: nn.Module, source: str) -> str:
    """Return a key of ADAPTERS.

    A user's own subclass may construct SB3's parts differently, but must compute the same.
    """
    kinds = {**dict.fromkeys(_ACTOR_CRITICS, "actor_critic"), **_POLICIES}
    own = f"{type(policy).__module__}.{type(policy).__name__}"
    changed: set[str] = set()
    for cls in type(policy).__mro__:
        if cls in kinds:
            if not changed:
                return kinds[cls]
            raise UserError(
                f"{source} has a policy {own} with its own {', '.join(sorted(changed))}, so its "
                "tensors do not define its computation, and it cannot be a teacher."
            )
        if not cls.__module__.startswith(("stable_baselines3.", "sb3_contrib.")):
            changed |= {name for name, value in vars(cls).items() if isinstance(value, _CODE)}
            changed.discard("__init__")
        elif all(cls.__module__ != kind.__module__ for kind in kinds):
            break  # another kind of policy, such as a recurrent one
    raise UserError(
        f"{source} has a policy {own}, for which there is no adapter: only SB3's own policies, and "
        "subclasses that compute the same, can be teachers."
    )


def own_extractor(policy: nn.Module) -> type[nn.Module] | None:
    """Return the class of a features extractor that is not SB3's, if there is one."""
    for module in policy.modules():
        if isinstance(module, BaseFeaturesExtractor) and type(module) not in _EXTRACTORS:
            return type(module)
    return None


def _check_parts(policy: nn.Module, source: str) -> None:
    """Raise UserError for replaced parts of SB3's policy, which tensors alone do not define."""
    for name, module in policy.named_modules():
        last = name.rpartition(".")[2]
        is_foreign = not type(module).__module__.startswith(("stable_baselines3.", "sb3_contrib."))
        if (last == "mlp_extractor" and type(module) is not MlpExtractor) or (
            name in _NETWORKS and is_foreign
        ):
            raise UserError(
                f"{source} has its own {last}, {type(module).__name__}, for which there is no "
                "adapter: only the features extractor may be your own."
            )
    distribution = getattr(policy, "action_dist", None)
    if distribution is not None and type(distribution).__module__ != _DISTRIBUTIONS:
        raise UserError(
            f"{source} has its own action distribution {type(distribution).__name__}, for which "
            "there is no adapter."
        )


def _algo(model: BaseAlgorithm) -> str:
    """Return the name of the model's SB3 class, or of its own class if there is none."""
    names = [cls.__name__.lower() for cls in type(model).__mro__]
    known = {*POLICY_KINDS, *ADAPTERS} - {"actor_critic"}
    return next((name for name in names if name in known), names[0])
