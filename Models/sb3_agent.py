"""What an SB3 agent computes, in the form that `Models.teacher.Teacher` computes it.

Every agent of SB3 and SB3-Contrib is an observation's features, layers, and a head that gives an
action distribution; and critics, for most. The adapters here rename its tensors. What has no
place of its own is folded into a linear layer, exactly: CrossQ's batch renormalisation (affine
outside training) and the mean over QR-DQN's quantiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from Enviroment.errors import UserError
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)
from Models.sb3_layers import Layer, fold, folded, layer, numbered
from Models.teacher_description import ObservationGroup
from Models.teacher_networks import make_cnn
from Models.vecnormalize import Normaliser


@dataclass(frozen=True)
class Softening:
    """How agents whose policy is one certain action become a distribution."""

    # TD3, DDPG: standard deviation around the action, in half widths of the action's bounds.
    action_std: float = 0.1  # TD3's own exploration noise
    # DQN, QRDQN: softmax(Q / temperature), in the units of Q.
    temperature: float = 0.01  # Rusu et al., "Policy Distillation", 2016


@dataclass(frozen=True)
class Agent:
    """An SB3 agent, wherever it came from."""

    source: str  # for messages
    algo: str
    policy: str  # a key of ADAPTERS
    state: Mapping[str, Tensor]  # the policy's state_dict
    activation: str | None  # None: the policy's default
    observation_space: spaces.Space
    action_space: spaces.Space
    gamma: float  # discount
    normalize_images: bool = True
    batch_norm_eps: float = 0.001  # CrossQ: added to the variance
    dropped_quantiles: int = 2  # TQC: of each critic


@dataclass(frozen=True)
class Network:
    """An agent's tensors, taken apart: what an adapter gives."""

    family: str
    encoder: str  # the features extractor's prefix in the state
    hidden: list[Layer]
    heads: dict[str, Layer]  # "head", and "log_std_head" where there is one
    critics: list[list[Layer]]
    value_kind: str | None
    default_activation: str
    critic_encoder: str = ""  # empty: none of its own
    log_std: Tensor | None = None  # (action_dim,), the same in every state


def identity_dim(agent: Agent) -> int:
    """How long the statistics are that change nothing: only a plain vector has any."""
    space = agent.observation_space
    if not isinstance(space, spaces.Box) or any(".cnn." in f".{name}" for name in agent.state):
        return 0
    return 0 if agent.normalize_images and is_image_space(space) else space.low.size


def adapt(
    agent: Agent, normaliser: Normaliser, softening: Softening
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A teacher's tensors, and the fields of its description that tell what it computes.

    Raises:
        UserError: the agent lacks a tensor, or computes what no teacher here can.
    """
    try:
        network = ADAPTERS[agent.policy](agent)
        groups = _groups(agent, network.encoder, normaliser)
        tensors = _tensors(agent, network, groups)
    except KeyError as error:
        raise UserError(f"{agent.source} lacks {error}: it is no agent of SB3's.") from error
    mean, var = _statistics(agent, normaliser, groups)
    tensors["state_normaliser.mean"] = torch.from_numpy(mean.copy())
    tensors["state_normaliser.var"] = torch.from_numpy(var.copy())
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    return tensors, {
        "algo": agent.algo,
        "family": network.family,
        **_observation(groups),
        **_actions(agent, network),
        **_softening(network, agent, softening),
        **_value(agent, network, tensors),
        "actor_layers": tuple(len(bias) for _, bias in network.hidden),
        "activation": agent.activation or network.default_activation,
        "gamma": agent.gamma,
        "normaliser_clip": normaliser.clip,
        "normaliser_epsilon": normaliser.epsilon,
        "reward_scale": normaliser.reward_scale,
    }


# -- one adapter for each kind of policy -------------------------------------------------------

_FAMILY_OF_ACTIONS = {
    spaces.Box: DiagGaussian.family,
    spaces.Discrete: Categorical.family,
    spaces.MultiDiscrete: MultiCategorical.family,
    spaces.MultiBinary: Bernoulli.family,
}


def _actor_critic(agent: Agent) -> Network:
    """PPO, A2C, TRPO. Before SB3 1.8 actor and critic could share their first layers."""
    state, shared = agent.state, _layers(agent, "mlp_extractor.shared_net.")
    own = any(name.startswith("pi_features_extractor.") for name in state)
    family = _FAMILY_OF_ACTIONS[type(agent.action_space)]
    value = [*shared, *_layers(agent, "mlp_extractor.value_net."), layer(state, "value_net.")]
    critics = [] if agent.algo == "reinforce" else [value]  # SB3's head is there, but untrained
    return Network(
        family=family,
        encoder="pi_features_extractor." if own else "features_extractor.",
        hidden=[*shared, *_layers(agent, "mlp_extractor.policy_net.")],
        heads={"head": layer(state, "action_net.")},
        critics=critics,
        value_kind="state" if critics else None,
        default_activation="Tanh",
        critic_encoder="vf_features_extractor." if own else "",
        log_std=state["log_std"] if family == DiagGaussian.family else None,
    )


def _squashed(agent: Agent) -> Network:
    """SAC, TQC, CrossQ."""
    hidden, last = folded(agent.state, "actor.latent_pi.", agent.batch_norm_eps)
    heads = {"head": "actor.mu.", "log_std_head": "actor.log_std."}
    return Network(
        family=SquashedGaussian.family,
        encoder="actor.features_extractor.",
        hidden=hidden,
        heads={name: fold(layer(agent.state, at), last) for name, at in heads.items()},
        critics=_q_critics(agent),
        value_kind="action",
        default_activation="ReLU",
        critic_encoder="critic.features_extractor.",
    )


def _deterministic(agent: Agent) -> Network:
    """TD3, DDPG: the head is the action before its tanh."""
    *hidden, head = _layers(agent, "actor.mu.")
    return Network(
        family=DiagGaussian.family,
        encoder="actor.features_extractor.",
        hidden=hidden,
        heads={"head": head},
        critics=_q_critics(agent),
        value_kind="action",
        default_activation="ReLU",
        critic_encoder="critic.features_extractor.",
    )


def _q_values(agent: Agent) -> Network:
    """DQN, QRDQN: the head is Q of every action."""
    name = "q_net" if agent.policy == "dqn" else "quantile_net"
    *hidden, (weight, bias) = _layers(agent, f"{name}.{name}.")
    assert isinstance(agent.action_space, spaces.Discrete)
    n = int(agent.action_space.n)
    # (quantiles * n, inputs) -> (n, inputs): the mean over quantiles, of which DQN has one.
    head = (weight.unflatten(0, (-1, n)).mean(0), bias.unflatten(0, (-1, n)).mean(0))
    return Network(
        family=Categorical.family,
        encoder=f"{name}.features_extractor.",
        hidden=hidden,
        heads={"head": head},
        critics=[],
        value_kind="q",
        default_activation="ReLU",
    )


ADAPTERS: dict[str, Callable[[Agent], Network]] = {
    "actor_critic": _actor_critic,
    "sac": _squashed,
    "tqc": _squashed,
    "crossq": _squashed,
    "td3": _deterministic,
    "dqn": _q_values,
    "qrdqn": _q_values,
}
# The kind of policy of an algorithm, where it is not of the same name.
POLICY_KINDS = {"ddpg": "td3"} | dict.fromkeys(
    ("ppo", "a2c", "trpo", "reinforce", "actorcritic"), "actor_critic"
)


def _layers(agent: Agent, prefix: str) -> list[Layer]:
    return folded(agent.state, prefix, agent.batch_norm_eps)[0]


def _q_critics(agent: Agent) -> list[list[Layer]]:
    named = {name.split(".")[1] for name in agent.state if name.startswith("critic.qf")}
    return [_layers(agent, f"critic.qf{i}.") for i in range(len(named))]


# -- a teacher's tensors and fields -------------------------------------------------------------


def _groups(agent: Agent, encoder: str, normaliser: Normaliser) -> tuple[ObservationGroup, ...]:
    space = agent.observation_space
    if not isinstance(space, spaces.Dict):
        group = _group(agent, "", space, encoder)
        # As a plain vector always was, with statistics that change nothing where there are none.
        plain = isinstance(space, spaces.Box) and not group.is_image and not group.cnn_features
        return (replace(group, normalised=plain or len(normaliser.mean) > 0),)
    names = normaliser.groups or {}
    return tuple(
        replace(_group(agent, name, inner, encoder), normalised=name in names)
        for name, inner in space.spaces.items()
    )


def _cnn_prefix(state: Mapping[str, Tensor], encoder: str, group: str) -> str:
    """Where the CNN of a group has its tensors, if it has one."""
    if f"{encoder}cnn.linear.0.bias" in state:
        return f"{encoder}cnn."  # Models.impala_extractor's, of one group alone
    return f"{encoder}extractors.{group}." if group else encoder


def _group(agent: Agent, name: str, space: spaces.Space, encoder: str) -> ObservationGroup:
    if isinstance(space, spaces.Discrete):
        return ObservationGroup(name, (), choices=(int(space.n),))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        choices = tuple(int(n) for n in space.nvec)
        return ObservationGroup(name, (len(choices),), choices=choices)
    if not isinstance(space, (spaces.Box, spaces.MultiBinary)):
        raise UserError(f"{agent.source}: observations in {space} have no adapter.")
    cnn = _cnn_prefix(agent.state, encoder, name)
    linear = agent.state.get(f"{cnn}linear.0.bias")
    return ObservationGroup(
        name,
        tuple(space.shape or (1,)),
        is_image=agent.normalize_images and is_image_space(space),
        cnn_features=0 if linear is None else len(linear),
        cnn_filters=_filters(agent.state, cnn),
    )


def _filters(state: Mapping[str, Tensor], cnn: str) -> tuple[int, ...]:
    """Of an IMPALA-CNN's sequences; none, where it is none."""
    pattern = re.compile(re.escape(cnn) + r"sequences\.(\d+)\.0\.bias")
    found = {
        int(match[1]): len(state[name]) for name in state if (match := pattern.fullmatch(name))
    }
    return tuple(found[i] for i in sorted(found))


def _statistics(
    agent: Agent, normaliser: Normaliser, groups: tuple[ObservationGroup, ...]
) -> tuple[np.ndarray, np.ndarray]:
    ours = [group for group in groups if group.normalised]
    if normaliser.groups is None:
        mean, var = normaliser.mean, normaliser.var
        expected = {"": sum(group.size for group in ours)}
        given = {"": len(mean)}
    else:
        expected = {group.name: group.size for group in ours}
        given = normaliser.groups
    if expected != given:
        raise UserError(
            f"{agent.source}: its VecNormalize is another agent's: it normalises "
            f"{_sizes(given)}, and the agent takes {_sizes({g.name: g.size for g in groups})}."
        )
    if normaliser.groups is not None:
        mean, var = normaliser.of_groups(tuple(expected))
    return mean, var


def _sizes(groups: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'a state'} of ({size},)" for name, size in groups.items())


def _tensors(
    agent: Agent, network: Network, groups: tuple[ObservationGroup, ...]
) -> dict[str, Tensor]:
    tensors = numbered("actor.", network.hidden)
    for name, (weight, bias) in network.heads.items():
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    if network.log_std is not None:
        tensors["log_std"] = network.log_std
    for k, critic in enumerate(network.critics):
        tensors |= numbered(f"critics.{k}.", critic)
    encoder = _encoder(agent.state, network.encoder, groups)
    tensors |= {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    if network.critic_encoder and network.critics:
        other = _encoder(agent.state, network.critic_encoder, groups)
        if any(not torch.equal(other[name], encoder[name]) for name in encoder):
            tensors |= {f"critic_encoder.{name}": tensor for name, tensor in other.items()}
    return tensors


def _encoder(
    state: Mapping[str, Tensor], prefix: str, groups: tuple[ObservationGroup, ...]
) -> dict[str, Tensor]:
    tensors = {}
    for i, group in enumerate(groups):
        if group.cnn_features:
            inner = _cnn_prefix(state, prefix, group.name)
            with torch.device("meta"):  # for the names only
                names = make_cnn(group).state_dict()
            tensors |= {f"parts.{i}.{name}": state[inner + name] for name in names}
    return tensors


def _observation(groups: tuple[ObservationGroup, ...]) -> dict[str, Any]:
    size = sum(group.size for group in groups)
    # A plain vector is described as it always was, so that older versions read it too.
    vector = ObservationGroup("", (size,), normalised=True)
    return {"state_dim": size, "observation": () if groups == (vector,) else groups}


def _actions(agent: Agent, network: Network) -> dict[str, Any]:
    space, action_dim = agent.action_space, len(network.heads["head"][1])
    fields: dict[str, Any] = {"action_dim": action_dim, "action_low": (), "action_high": ()}
    if isinstance(space, spaces.Box):
        fields["action_low"] = tuple(space.low.ravel().tolist())
        fields["action_high"] = tuple(space.high.ravel().tolist())
        fields["action_shape"] = () if len(space.shape) == 1 else tuple(space.shape)
    elif isinstance(space, spaces.MultiDiscrete):
        fields["choices"] = tuple(int(n) for n in space.nvec)
    return fields


def _softening(network: Network, agent: Agent, softening: Softening) -> dict[str, Any]:
    chosen = {"td3": "action_std", "dqn": "temperature", "qrdqn": "temperature"}.get(agent.policy)
    return {} if chosen is None else {chosen: asdict(softening)[chosen]}


def _value(agent: Agent, network: Network, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    critic = network.critics[0] if network.critics else []
    fields = {
        "critic_layers": tuple(len(bias) for _, bias in critic[:-1]),
        "n_critics": len(network.critics),
        "value_kind": network.value_kind,
        "has_critic_encoder": any(name.startswith("critic_encoder.") for name in tensors),
    }
    if agent.policy == "tqc":
        fields["n_quantiles"] = len(critic[-1][1])
        fields["dropped_quantiles"] = agent.dropped_quantiles * len(network.critics)
    return fields
