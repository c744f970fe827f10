"""What a student needs of the spaces of observations and actions."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO, STATE
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)
from Models.student.config import StudentConfig

_SPACE_OF_FAMILY: dict[str, type[spaces.Space]] = {
    DiagGaussian.family: spaces.Box,
    SquashedGaussian.family: spaces.Box,
    Categorical.family: spaces.Discrete,
    MultiCategorical.family: spaces.MultiDiscrete,
    Bernoulli.family: spaces.MultiBinary,
}

_WITHOUT = {  # what to do where a group is missing
    FRAME: 'For a student of the state, give it `config` StudentConfig(mode="State").',
    PROPRIO: (
        "For a student of frames alone, give it `config` StudentConfig(proprio_features=0); or "
        "name the joints in the task."
    ),
}


def dict_space(space: spaces.Space) -> spaces.Dict:
    """Return a space of observation groups. Raise UserError for any other."""
    if not isinstance(space, spaces.Dict):
        raise UserError(f"A student needs a dictionary of observation groups, not {space}.")
    return space


def default_config(
    observations: spaces.Space, actions: spaces.Space, family: str | None = None
) -> StudentConfig:
    """Return the default network for an environment.

    It observes frames, and joints if there are any; without frames it observes the state.

    Args:
        family: that of the teacher; None: the first one that fits the actions.
    """
    groups = observations.spaces if isinstance(observations, spaces.Dict) else {}
    fitting = [name for name, kind in _SPACE_OF_FAMILY.items() if isinstance(actions, kind)]
    sees = FRAME in groups or STATE not in groups
    return StudentConfig(
        mode=StudentConfig.mode if sees else "State",
        family=family or (*fitting, StudentConfig.family)[0],
        proprio_features=StudentConfig.proprio_features if PROPRIO in groups else 0,
    )


def settled_config(
    config: StudentConfig | None, observations: spaces.Space, actions: spaces.Space
) -> StudentConfig:
    """Return the given or the default network. Raise UserError if it cannot act in the space."""
    config = config or default_config(observations, actions)
    check_actions(actions, config.family)
    return config


def narrow(space: spaces.Dict, groups: tuple[str, ...]) -> spaces.Dict:
    """Return only these groups. Raise UserError if one is missing."""
    missing = [group for group in groups if group not in space.spaces]
    if missing:
        advice = "" if missing[0] not in _WITHOUT else f" {_WITHOUT[missing[0]]}"
        raise UserError(
            f"The environment has no observation group {', '.join(missing)}, only "
            f"{', '.join(space.spaces)}.{advice}"
        )
    _check_frames(space, groups)
    return spaces.Dict({group: space[group] for group in groups})


def _check_frames(space: spaces.Dict, groups: tuple[str, ...]) -> None:
    """Raise UserError if frames are not bytes: encoders divide by 255, and rollouts keep bytes."""
    if FRAME in groups and space[FRAME].dtype != np.uint8:
        vectors = [group for group in space.spaces if group != FRAME]
        raise UserError(
            f"Frames are {space[FRAME].dtype}, but a student needs those of cameras, uint8 from 0 "
            f"to 255. If a VecNormalize changes them, give it norm_obs_keys={vectors}, or "
            "norm_obs=False."
        )


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
