"""Convert an SB3 agent to the tensors and description of a `Models.teacher.Teacher`.

Every agent of SB3 and SB3-Contrib consists of a features extractor, layers, a head of an action
distribution and, for most, critics. `Models.sb3.adapters` splits its tensors into these parts; this
module gives them a teacher's names and description.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from Common.errors import UserError
from Models.sb3.adapters import ADAPTERS, Agent, Network
from Models.sb3.layers import numbered
from Models.sb3.softening import Softening
from Models.sb3.vecnormalize import Normaliser
from Models.teacher.description import ObservationGroup
from Models.teacher.parts import OwnExtractors, make_cnn


def identity_dim(agent: Agent) -> int:
    """Return the size of identity statistics: that of a plain vector, 0 for anything else."""
    space = agent.observation_space
    if not isinstance(space, spaces.Box) or is_image_space(space):
        return 0
    has_cnn = agent.modules is None and any(".cnn." in f".{name}" for name in agent.state)
    return 0 if has_cnn else space.low.size


def adapt(
    agent: Agent, normaliser: Normaliser, softening: Softening
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a teacher's tensors, and the fields of its description that define its computation.

    Raises:
        UserError: the agent lacks a tensor, or its computation is not supported.
    """
    try:
        network = ADAPTERS[agent.policy](agent)
        groups = _groups(agent, network.encoder, normaliser)
        tensors = _tensors(agent, network, groups)
    except KeyError as error:
        raise UserError(f"{agent.source} lacks {error}: it is not an SB3 agent.") from error
    mean, var = _statistics(agent, normaliser, groups)
    tensors["state_normaliser.mean"] = torch.from_numpy(mean.copy())
    tensors["state_normaliser.var"] = torch.from_numpy(var.copy())
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    return tensors, {
        "algo": agent.algo,
        "family": network.family,
        **_observation(groups),
        **_actions(agent, network),
        **_noise(network, softening),
        **_value(agent, network, tensors),
        "features_extractor": _own_class(agent, network),
        "actor_layers": tuple(len(bias) for _, bias in network.hidden),
        "activation": agent.activation or network.default_activation,
        "gamma": agent.gamma,
        "normaliser_clip": normaliser.clip,
        "normaliser_epsilon": normaliser.epsilon,
        "reward_scale": normaliser.reward_scale,
    }


def own_extractors(agent: Agent) -> OwnExtractors | None:
    """Return frozen copies of the agent's features extractors if they are not SB3's, else None.

    Raises:
        UserError: the features extractors cannot be copied.
    """
    if agent.modules is None:
        return None
    network = ADAPTERS[agent.policy](agent)
    try:
        actor = copy.deepcopy(_submodule(agent, network.encoder))
        critic = None
        if _has_own_critic_extractor(agent, network):
            critic = copy.deepcopy(_submodule(agent, network.critic_encoder))
    except Exception as error:  # the user's own module may raise anything
        raise UserError(
            f"{agent.source}: its features extractor cannot be copied: {error!r}. A teacher is a "
            "frozen copy, so copy.deepcopy must work on it."
        ) from error
    return OwnExtractors(actor, critic)


def _submodule(agent: Agent, prefix: str) -> torch.nn.Module:
    assert agent.modules is not None
    return agent.modules.get_submodule(prefix.removesuffix("."))


def _has_own_critic_extractor(agent: Agent, network: Network) -> bool:
    if not (network.critic_encoder and network.critics):
        return False
    return _submodule(agent, network.critic_encoder) is not _submodule(agent, network.encoder)


def _own_class(agent: Agent, network: Network) -> str:
    if agent.modules is None:
        return ""
    cls = type(_submodule(agent, network.encoder))
    return f"{cls.__module__}.{cls.__qualname__}"


# -- a teacher's tensors and fields -------------------------------------------------------------


def _groups(agent: Agent, encoder: str, normaliser: Normaliser) -> tuple[ObservationGroup, ...]:
    space = agent.observation_space
    if not isinstance(space, spaces.Dict):
        group = _group(agent, "", space, encoder)
        # A plain vector always has statistics, the identity if the agent has none.
        plain = isinstance(space, spaces.Box) and not group.is_image and not group.cnn_features
        if not (plain or len(normaliser.mean)):
            return (group,)
        return (_normalised(group, space, len(normaliser.mean)),)
    names = normaliser.groups or {}
    groups = [(_group(agent, name, inner, encoder), inner) for name, inner in space.spaces.items()]
    return tuple(
        _normalised(group, inner, names[group.name]) if group.name in names else group
        for group, inner in groups
    )


def _normalised(
    group: ObservationGroup, space: spaces.Space, n_statistics: int
) -> ObservationGroup:
    """Return the group with statistics.

    If a VecFrameStack was around the VecNormalize, all states of a stack share the statistics of
    one state.
    """
    stack = 1
    if isinstance(space, spaces.Box) and len(group.shape) == 1 and 0 < n_statistics < group.size:
        repeats = group.size // n_statistics
        rows = [
            bounds.reshape(repeats, -1)
            for bounds in (space.low, space.high)
            if repeats * n_statistics == group.size
        ]
        if rows and all((bounds == bounds[0]).all() for bounds in rows):
            stack = repeats
    return replace(group, normalised=True, stack=stack)


def _cnn_prefix(state: Mapping[str, Tensor], encoder: str, group: str) -> str:
    """Return the prefix of the CNN of a group, if it has one."""
    if f"{encoder}cnn.linear.0.bias" in state:
        return f"{encoder}cnn."  # of Models.networks.impala_extractor, with a single group
    return f"{encoder}extractors.{group}." if group else encoder


def _group(agent: Agent, name: str, space: spaces.Space, encoder: str) -> ObservationGroup:
    if isinstance(space, spaces.Discrete):
        return ObservationGroup(name, (), choices=(int(space.n),))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        choices = tuple(int(n) for n in space.nvec)
        return ObservationGroup(name, (len(choices),), choices=choices)
    if not isinstance(space, (spaces.Box, spaces.MultiBinary)):
        raise UserError(f"{agent.source}: observations in {space} are not supported.")
    is_image = is_image_space(space)
    group = ObservationGroup(
        name,
        tuple(space.shape or (1,)),
        is_image=is_image,
        raw_pixels=is_image and not agent.normalize_images,
    )
    cnn = _cnn_prefix(agent.state, encoder, name)
    linear = agent.state.get(f"{cnn}linear.0.bias")
    if linear is None or agent.modules is not None:
        return group
    return replace(group, cnn_features=len(linear), cnn_filters=_filters(agent.state, cnn))


def _filters(state: Mapping[str, Tensor], cnn: str) -> tuple[int, ...]:
    """Return the filters of an IMPALA-CNN's sequences; empty for other networks."""
    pattern = re.compile(re.escape(cnn) + r"sequences\.(\d+)\.0\.bias")
    found = {
        int(match[1]): len(state[name]) for name in state if (match := pattern.fullmatch(name))
    }
    return tuple(found[i] for i in sorted(found))


def _statistics(
    agent: Agent, normaliser: Normaliser, groups: tuple[ObservationGroup, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the normalised groups, concatenated."""
    ours = [group for group in groups if group.normalised]
    sizes = [group.size // group.stack for group in ours]
    mean, var = normaliser.mean, normaliser.var
    if normaliser.groups is None:
        expected, given = {"": sum(sizes)}, {"": len(mean)}
    else:
        expected = {group.name: size for group, size in zip(ours, sizes, strict=True)}
        given = normaliser.groups
    if expected != given:
        raise UserError(
            f"{agent.source}: its VecNormalize is of another agent: it normalises "
            f"{_sizes(given)}, but the agent observes {_sizes({g.name: g.size for g in groups})}."
        )
    if normaliser.groups is not None:
        mean, var = normaliser.of_groups(tuple(expected))
    stacks = [group.stack for group in ours]
    return _repeated(mean, sizes, stacks), _repeated(var, sizes, stacks)


def _repeated(values: np.ndarray, sizes: list[int], stacks: list[int]) -> np.ndarray:
    """Repeat the values of each group once per stacked state."""
    parts = np.split(values.ravel(), np.cumsum(sizes)[:-1]) if sizes else []
    repeats = [np.tile(part, n) for part, n in zip(parts, stacks, strict=True)]
    return np.concatenate([np.empty(0), *repeats])


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
    if network.sde_log_std is not None:
        tensors["sde_log_std"] = network.sde_log_std
    for k, critic in enumerate(network.critics):
        tensors |= numbered(f"critics.{k}.", critic)
    encoder = _encoder(agent, network.encoder, groups)
    tensors |= {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    if agent.modules is not None:
        has_critic = _has_own_critic_extractor(agent, network)
    else:
        other = _encoder(agent, network.critic_encoder, groups) if network.critic_encoder else {}
        has_critic = bool(network.critics) and any(
            not torch.equal(tensor, encoder[name]) for name, tensor in other.items()
        )
    if has_critic:
        other = _encoder(agent, network.critic_encoder, groups)
        tensors |= {f"critic_encoder.{name}": tensor for name, tensor in other.items()}
    return tensors


def _encoder(agent: Agent, prefix: str, groups: tuple[ObservationGroup, ...]) -> dict[str, Tensor]:
    state, tensors = agent.state, {}
    if agent.modules is not None:
        module = _submodule(agent, prefix)
        return {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for i, group in enumerate(groups):
        if group.cnn_features:
            inner = _cnn_prefix(state, prefix, group.name)
            with torch.device("meta"):  # for the names only
                names = make_cnn(group).state_dict()
            tensors |= {f"parts.{i}.{name}": state[inner + name] for name in names}
    return tensors


def _observation(groups: tuple[ObservationGroup, ...]) -> dict[str, Any]:
    size = sum(group.size for group in groups)
    # A plain vector keeps its old description, so that older versions can read it.
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


def _noise(network: Network, softening: Softening) -> dict[str, Any]:
    """Return the fields of the action's standard deviation that are not tensors."""
    fields: dict[str, Any] = {
        "state_dependent_std": network.sde_log_std is not None,
        "mean_clip": network.mean_clip,
        "clips_action": network.clips_action,
    }
    if network.softening is not None:
        fields[network.softening] = asdict(softening)[network.softening]
    return fields


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
