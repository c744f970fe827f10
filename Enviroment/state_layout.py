"""The state as one vector: which of its numbers belong to which part of an observation.

The order is that of `gymnasium.spaces.flatten`. The parts of a dictionary follow each other in the
order of its space, which Gymnasium sorts by name, unless the environment gives pairs. `Discrete`
and `MultiDiscrete` parts are one-hot, as in Stable-Baselines3; images keep their order in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Common.names import nearest
from Enviroment.task import Task

_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class StateGroup:
    """A named part of the state: `state[first:end]`."""

    name: str  # of nested dictionaries: names joined by dots; empty: the whole observation
    space: spaces.Space
    first: int
    end: int


def state_groups(space: spaces.Space) -> list[StateGroup]:
    """Return the parts of the flattened observation in their order.

    Raises:
        UserError: a part of the observation is no vector of numbers.
    """
    groups: list[StateGroup] = []
    _collect("", space, groups)
    return groups


def _collect(name: str, space: spaces.Space, groups: list[StateGroup]) -> None:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            _collect(f"{name}.{key}" if name else str(key), inner, groups)
        return
    if not isinstance(space, _LEAVES):
        part = f"its part {name!r} is" if name else "it is"
        raise UserError(f"{part} {space}, which has no fixed count of numbers")
    first = groups[-1].end if groups else 0
    groups.append(StateGroup(name, space, first, first + spaces.flatdim(space)))


def check_state(task: Task, space: spaces.Space) -> bool:
    """Return whether an observation is a vector already.

    Raises:
        UserError: it cannot be flattened to one.
    """
    try:
        groups = state_groups(space)
        if not groups or not groups[-1].end:
            raise UserError("it is empty")
    except UserError as error:
        raise UserError(
            f"Task {task.name}: the observation of {task.source} cannot be a state: {error}. "
            "Convert or drop this part by a wrapper (`wrapper` package:Class)."
        ) from error
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def named_range(groups: Sequence[StateGroup], name: str) -> tuple[int, int]:
    """Return the range of the state of a group, or of a dictionary of groups, by name.

    Raises:
        UserError: there is no such group. The message lists the groups.
    """
    inside = [g for g in groups if g.name == name or g.name.startswith(f"{name}.")]
    if inside:
        return inside[0].first, inside[-1].end
    known = [group.name for group in groups if group.name]
    if not known:
        raise UserError(
            f"`proprio`: there is no group {name!r}, because the observation is one vector without "
            "names. Give ranges of its indices, such as 0:17."
        )
    listed = ", ".join(f"{g.name} ({g.first}:{g.end})" for g in groups)
    raise UserError(
        f"`proprio`: the observation has no group {name!r}. Did you mean {nearest(name, known)}? "
        f"Its groups: {listed}."
    )


def scales(groups: Sequence[StateGroup]) -> np.ndarray:
    """Return a divisor of each number of the state, float32: 255 for images, otherwise 1."""
    parts = [
        np.full(g.end - g.first, 255.0 if g.space.dtype == np.uint8 and g.space.shape else 1.0)
        for g in groups
    ]
    return np.concatenate(parts).astype(np.float32)


def image_of(space: spaces.Space) -> tuple[int, int, int] | None:
    """Return height, width and channels of an observation that is a picture, else None.

    Pictures are uint8 (H, W), (H, W, C) or (C, H, W), gray or red, green and blue.
    """
    if not isinstance(space, spaces.Box) or space.dtype != "uint8":
        return None
    shape = space.shape
    if len(shape) == 2:
        return (*shape, 1)
    if len(shape) != 3 or not {shape[0], shape[2]} & {1, 3}:
        return None
    return shape if shape[2] in (1, 3) else (shape[1], shape[2], shape[0])
