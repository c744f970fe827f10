"""Arguments of SB3's algorithms that need a check before SB3 sees them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)

from Common.errors import UserError

ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
SB3_POLICIES: dict[str, type[BasePolicy]] = {
    "MlpPolicy": ActorCriticPolicy,
    "CnnPolicy": ActorCriticCnnPolicy,
    "MultiInputPolicy": MultiInputActorCriticPolicy,
}


def check_policy(
    policy: str | type[BasePolicy],
    aliases: Mapping[str, type[BasePolicy]],
    policy_kwargs: Mapping[str, Any] | None,
) -> None:
    """Refuses a policy that a student cannot have.

    Raises:
        UserError: it is no alias, no actor-critic policy, recurrent, or explores by gSDE.
    """
    names = ", ".join(aliases)
    if isinstance(policy, str):
        if policy not in aliases:
            raise UserError(f"There is no policy {policy!r}. Choose one of {names}, or a class.")
    elif not (inspect.isclass(policy) and issubclass(policy, ActorCriticPolicy)):
        name = policy.__name__ if inspect.isclass(policy) else repr(policy)
        raise UserError(
            f"The student's policy {name} is no ActorCriticPolicy: it has no action distribution "
            f"and value in one. Choose one of {names}, or a class made from ActorCriticPolicy."
        )
    elif issubclass(policy, RecurrentActorCriticPolicy):
        raise UserError(
            f"The student's policy {policy.__name__} is recurrent, and rollouts here keep no "
            f"hidden states. Choose one of {names}, and stack observations instead."
        )
    if policy_kwargs and policy_kwargs.get("use_sde"):
        refuse_sde(True)


def refuse_sde(use_sde: bool) -> None:
    """Raises UserError if it is asked for: the noise depends on the state, and no KL is exact."""
    if use_sde:
        raise UserError(
            "A student cannot explore by gSDE (use_sde): there is no exact KL to its teacher. "
            "Leave use_sde out."
        )


def tensorboard_folder(folder: str | None) -> str | None:
    """`folder`, or None, with a warning, where tensorboard is not installed."""
    if folder is None or find_spec("tensorboard") is not None:
        return folder
    warnings.warn(
        f"tensorboard is not installed, so nothing is written to {folder}. Install it with "
        "`pip install tensorboard`, or leave tensorboard_log out.",
        stacklevel=2,
    )
    return None
