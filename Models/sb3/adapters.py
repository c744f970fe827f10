"""Split an SB3 agent's tensors into parts: one adapter per kind of policy.

CrossQ's batch renormalisation (affine outside training) and the mean over QR-DQN's quantiles are
folded exactly into linear layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from gymnasium import spaces
from torch import Tensor, nn

from Common.errors import UserError
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)
from Models.sb3.layers import Layer, fold, folded, layer

_EXPLN_EPSILON = 1e-6  # of expln in the gSDE paper, as in SB3


@dataclass(frozen=True)
class Agent:
    """An SB3 agent, from a file or live."""

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
    dropped_quantiles: int = 2  # TQC: per critic
    squash_output: bool = False  # ARS, and actor-critics with gSDE: the action is a tanh
    use_expln: bool = False  # gSDE: standard deviations are expln of their parameter
    clip_mean: float = 2.0  # SAC, TQC with gSDE: bound of the mean before the tanh
    # The policy's modules if its features extractor is not SB3's, because its tensors do not define
    # the computation.
    modules: nn.Module | None = None


@dataclass(frozen=True)
class Network:
    """An agent's tensors in parts, as returned by an adapter."""

    family: str
    encoder: str  # the features extractor's prefix in the state
    hidden: list[Layer]
    heads: dict[str, Layer]  # "head", and "log_std_head" if there is one
    critics: list[list[Layer]]
    value_kind: str | None
    default_activation: str
    critic_encoder: str = ""  # empty: shared with the actor
    log_std: Tensor | None = None  # (action_dim,), state-independent
    sde_log_std: Tensor | None = None  # (units of the last hidden layer, action_dim), of gSDE
    mean_clip: float | None = None  # of a squashed Gaussian's mean
    softening: str | None = None  # field of `Softening` for a deterministic agent
    clips_action: bool = False  # if `softening` is "action_std": clip instead of a tanh


_FAMILY_OF_ACTIONS = {
    spaces.Box: DiagGaussian.family,
    spaces.Discrete: Categorical.family,
    spaces.MultiDiscrete: MultiCategorical.family,
    spaces.MultiBinary: Bernoulli.family,
}


def _actor_critic(agent: Agent) -> Network:
    """Adapt PPO, A2C, TRPO. Before SB3 1.8, actor and critic could share their first layers."""
    state, shared = agent.state, _layers(agent, "mlp_extractor.shared_net.")
    own = any(name.startswith("pi_features_extractor.") for name in state)
    family = _FAMILY_OF_ACTIONS[type(agent.action_space)]
    value = [*shared, *_layers(agent, "mlp_extractor.value_net."), layer(state, "value_net.")]
    critics = [] if agent.algo == "reinforce" else [value]  # SB3's head exists, but is untrained
    network = Network(
        family=family,
        encoder="pi_features_extractor." if own else "features_extractor.",
        hidden=[*shared, *_layers(agent, "mlp_extractor.policy_net.")],
        heads={"head": layer(state, "action_net.")},
        critics=critics,
        value_kind="state" if critics else None,
        default_activation="Tanh",
        critic_encoder="vf_features_extractor." if own else "",
    )
    if family != DiagGaussian.family:
        return network
    if state["log_std"].ndim == 1:
        return replace(network, log_std=state["log_std"])
    if any(name.startswith("sde_features_extractor.") for name in state):
        raise UserError(
            f"{agent.source}: gSDE with its own layers (sde_net_arch) is not supported."
        )
    return replace(
        network,
        family=SquashedGaussian.family if agent.squash_output else family,
        sde_log_std=_sde_log_std(agent, state["log_std"]),
    )


def _squashed(agent: Agent) -> Network:
    """Adapt SAC, TQC, CrossQ."""
    hidden, last = folded(agent.state, "actor.latent_pi.", agent.batch_norm_eps)
    uses_sde = "actor.log_std" in agent.state
    if uses_sde and last is not None:
        raise UserError(
            f"{agent.source}: gSDE (use_sde) after batch renormalisation is not supported."
        )
    clips = uses_sde and "actor.mu.0.weight" in agent.state
    heads = {"head": "actor.mu.0." if clips else "actor.mu."}
    if not uses_sde:
        heads["log_std_head"] = "actor.log_std."
    return Network(
        family=SquashedGaussian.family,
        encoder="actor.features_extractor.",
        hidden=hidden,
        heads={name: fold(layer(agent.state, at), last) for name, at in heads.items()},
        critics=_q_critics(agent),
        value_kind="action",
        default_activation="ReLU",
        critic_encoder="critic.features_extractor.",
        sde_log_std=_sde_log_std(agent, agent.state["actor.log_std"]) if uses_sde else None,
        mean_clip=agent.clip_mean if clips else None,
    )


def _sde_log_std(agent: Agent, parameter: Tensor) -> Tensor:
    """Return gSDE's log standard deviations of the last layer's weights from SB3's parameter.

    Args:
        parameter: (units of the last hidden layer, action_dim), or width 1 without full_std.
    """
    if agent.use_expln:
        grown = (parameter.clamp(min=0) + _EXPLN_EPSILON).log1p() + 1
        parameter = torch.where(parameter > 0, grown.log(), parameter)
    return parameter.expand(-1, _action_dim(agent.action_space)).contiguous()


def _action_dim(space: spaces.Space) -> int:
    assert isinstance(space, spaces.Box)
    return space.low.size


def _deterministic(agent: Agent) -> Network:
    """Adapt TD3, DDPG: the head is the action before its tanh."""
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
        softening="action_std",
    )


def _random_search(agent: Agent) -> Network:
    """Adapt ARS: the head is the action, before its tanh if any, or a score of every choice."""
    state = {
        # In SB3-Contrib's first versions the linear policy was not a Sequential.
        f"action_net.0.{name.removeprefix('action_net.')}" if name.count(".") == 1 else name: value
        for name, value in agent.state.items()
    }
    for name, weight in list(state.items()):
        if name.startswith("action_net.") and name.endswith(".weight"):
            state.setdefault(name.replace(".weight", ".bias"), weight.new_zeros(len(weight)))
    *hidden, head = folded(state, "action_net.", agent.batch_norm_eps)[0]
    is_continuous = isinstance(agent.action_space, spaces.Box)
    return Network(
        family=_FAMILY_OF_ACTIONS[type(agent.action_space)],
        encoder="features_extractor.",
        hidden=hidden,
        heads={"head": head},
        critics=[],
        value_kind=None,
        default_activation="ReLU",
        softening="action_std" if is_continuous else "temperature",
        clips_action=is_continuous and not agent.squash_output,
    )


def _q_values(agent: Agent) -> Network:
    """Adapt DQN, QRDQN: the head is Q of every action."""
    name = "q_net" if agent.policy == "dqn" else "quantile_net"
    *hidden, (weight, bias) = _layers(agent, f"{name}.{name}.")
    assert isinstance(agent.action_space, spaces.Discrete)
    n = int(agent.action_space.n)
    # (quantiles * n, inputs) -> (n, inputs): the mean over quantiles; DQN has one.
    head = (weight.unflatten(0, (-1, n)).mean(0), bias.unflatten(0, (-1, n)).mean(0))
    return Network(
        family=Categorical.family,
        encoder=f"{name}.features_extractor.",
        hidden=hidden,
        heads={"head": head},
        critics=[],
        value_kind="q",
        default_activation="ReLU",
        softening="temperature",
    )


ADAPTERS: dict[str, Callable[[Agent], Network]] = {
    "actor_critic": _actor_critic,
    "sac": _squashed,
    "tqc": _squashed,
    "crossq": _squashed,
    "td3": _deterministic,
    "dqn": _q_values,
    "qrdqn": _q_values,
    "ars": _random_search,
}
# The kind of policy of an algorithm if its name differs.
POLICY_KINDS = {"ddpg": "td3"} | dict.fromkeys(
    ("ppo", "a2c", "trpo", "reinforce", "actorcritic"), "actor_critic"
)


def _layers(agent: Agent, prefix: str) -> list[Layer]:
    return folded(agent.state, prefix, agent.batch_norm_eps)[0]


def _q_critics(agent: Agent) -> list[list[Layer]]:
    named = {name.split(".")[1] for name in agent.state if name.startswith("critic.qf")}
    return [_layers(agent, f"critic.qf{i}.") for i in range(len(named))]
