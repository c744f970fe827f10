"""What a student needs of the spaces of observations and actions."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.observations import FRAME
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)

_SPACE_OF_FAMILY: dict[str, type[spaces.Space]] = {
    DiagGaussian.family: spaces.Box,
    SquashedGaussian.family: spaces.Box,
    Categorical.family: spaces.Discrete,
    MultiCategorical.family: spaces.MultiDiscrete,
    Bernoulli.family: spaces.MultiBinary,
}


def dict_space(space: spaces.Space) -> spaces.Dict:
    """Return a space of observation groups. Raise UserError for any other."""
    if not isinstance(space, spaces.Dict):
        raise UserError(f"A student needs a dictionary of observation groups, not {space}.")
    return space


def narrow(space: spaces.Dict, groups: tuple[str, ...]) -> spaces.Dict:
    """Return only these groups. Raise UserError if one is missing."""
    missing = [group for group in groups if group not in space.spaces]
    if missing:
        raise UserError(f"The environment has no observation group {', '.join(missing)}.")
    return spaces.Dict({group: space[group] for group in groups})


def check_actions(space: spaces.Space, family: str) -> None:
    """Raise UserError if a student of this family cannot act in the space."""
    if not isinstance(space, _SPACE_OF_FAMILY[family]):
        fitting = [name for name, kind in _SPACE_OF_FAMILY.items() if isinstance(space, kind)]
        raise UserError(
            f"A {family} student cannot act in {space}. Its family can be: "
            f"{' or '.join(fitting) or 'none, no distribution has such actions'}."
        )
    nested = not isinstance(space, spaces.Box) and len(space.shape or ()) > 1
    if nested or np.any(getattr(space, "start", 0)):
        raise UserError(
            f"A student cannot act in {space}: discrete actions must be a flat list and count "
            "from 0. Wrap the environment so that they do."
        )


def size(space: spaces.Space) -> int:
    """Return the number of elements."""
    return int(np.prod(space.shape or ()))


def vector_sizes(space: spaces.Space) -> dict[str, int]:
    """Return the number of elements of each group other than frames."""
    return {group: size(sub) for group, sub in dict_space(space).spaces.items() if group != FRAME}
