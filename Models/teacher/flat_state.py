"""Read the groups of a teacher's observation, also from the flattened state of its environment.

Teachers of dictionaries, images and discrete observations act on the same vector `state` as
students do, in the order of `Enviroment.state_layout`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from stable_baselines3.common.preprocessing import maybe_transpose
from torch import Tensor

from Common.errors import UserError
from Enviroment.observations import STATE
from Enviroment.state_layout import StateGroup
from Models.teacher.description import ObservationGroup, StatePart, TeacherDescription
from Models.teacher.parts import StateNormaliser

_WHITE = 255.0


def check_groups(observation: Mapping[str, Tensor], d: TeacherDescription) -> None:
    """Raise UserError unless an observation has the groups of a teacher, before flattening."""
    for group in d.groups:
        given = observation.get(group.name)
        if given is None or math.prod(given.shape[1:]) != math.prod(group.shape):
            raise other_groups({name: part.shape for name, part in observation.items()}, d)


def other_groups(shapes: Mapping[str, Sequence[int]], d: TeacherDescription) -> UserError:
    """Return the error of an observation that is not the teacher's."""
    got = ", ".join(f"{name or 'observation'} {tuple(shape)}" for name, shape in shapes.items())
    advice = ""
    if any(group.name or len(group.shape) != 1 or group.choices for group in d.groups):
        advice = (
            " Environments of this toolkit give the flattened `state`: adopt(teacher, task) of "
            "Models.teacher returns the teacher for it."
        )
    return UserError(f"The teacher observes {d.observation_space}, but got {got}.{advice}")


def split_state(
    state: Tensor, groups: Sequence[ObservationGroup], parts: Sequence[StatePart]
) -> dict[str, Tensor]:
    """Return the raw groups `(B, *shape)` of states `(B, flat_dim)`, as before flattening."""
    return {
        group.name: _group(state, group, part) for group, part in zip(groups, parts, strict=True)
    }


def _group(state: Tensor, group: ObservationGroup, part: StatePart) -> Tensor:
    values = state[:, part.first : part.first + _size(group)]
    if group.choices:
        one_hot = values.split(group.choices, dim=-1)
        indices = torch.stack([columns.argmax(-1) for columns in one_hot], dim=-1)  # (B, D)
        return indices.reshape(-1, *group.shape)
    if part.channels_last:
        channels, height, width = group.shape
        # (B, H * W * C) -> (B, H, W, C) -> (B, C, H, W)
        return values.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    return values.reshape(-1, *group.shape)


def _size(group: ObservationGroup) -> int:
    return sum(group.choices) or group.size


def state_parts(
    groups: Sequence[ObservationGroup], layout: Sequence[StateGroup]
) -> tuple[StatePart, ...]:
    """Return where each group is in the flattened observation of an environment.

    Args:
        layout: the groups of the environment's observation (see `state_groups`).

    Raises:
        UserError: the environment lacks a group, or has it with another size.
    """
    known, parts = {group.name: group for group in layout}, []
    for group in groups:
        part = known.get(group.name)
        if part is None or part.end - part.first != _size(group):
            theirs = "none" if part is None else f"{part.space}"
            raise UserError(
                f"The teacher observes {group.name or 'a state'} {group.space}, but the "
                f"environment has {theirs}."
            )
        # SB3 puts the channels of images first, which the environment may have last.
        is_image = group.is_image and len(group.shape) == 3
        parts.append(StatePart(part.first, is_image and part.space.shape != group.shape))
    return tuple(parts)


def flat_statistics(d: TeacherDescription, normaliser: StateNormaliser) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the flattened state, `(flat_dim,)` float32.

    Numbers without statistics of the teacher have 0 and 1, images 0 and 255.
    """
    mean = torch.zeros(d.flat_dim, device=normaliser.mean.device)
    std, start = torch.ones_like(mean), 0
    for group, part in zip(d.groups, d.state_parts, strict=True):
        place = slice(part.first, part.first + _size(group))
        if group.normalised:
            own = slice(start, start + group.size)
            start += group.size
            deviations = (normaliser.var[own] + normaliser.epsilon).sqrt().float()
            mean[place] = _ordered(normaliser.mean[own].float(), group, part)
            std[place] = _ordered(deviations, group, part)
        elif group.is_image:
            std[place] = _WHITE
    return mean, std


def _ordered(values: Tensor, group: ObservationGroup, part: StatePart) -> Tensor:
    """Return the statistics of a group in the order of the state."""
    if not part.channels_last:
        return values
    channels, height, width = group.shape
    return values.reshape(channels, height, width).permute(1, 2, 0).flatten()


def arrays_of(
    observation: np.ndarray | Mapping[str, np.ndarray], d: TeacherDescription, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], bool]:
    """Return an observation's groups as arrays, and whether it is a single one, not a batch.

    Images are channels first, as in SB3's own `predict`.

    Args:
        names: of the groups of the teacher, in its order.

    Raises:
        UserError: the observation lacks a group of the teacher.
    """
    given = observation if isinstance(observation, Mapping) else None
    if d.state_parts:
        state = np.asarray(observation if given is None else given[STATE])
        return {STATE: state}, state.ndim == 1
    if given is not None and not {*names} <= {*given}:
        raise other_groups({name: np.shape(part) for name, part in given.items()}, d)
    arrays = {
        name: maybe_transpose(
            np.asarray(observation if given is None else given[name]), group.space
        )
        for group, name in zip(d.groups, names, strict=True)
    }
    return arrays, arrays[names[0]].ndim == len(d.groups[0].shape)
