"""Check arguments of SB3's algorithms before they are passed on."""

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
    """Raise UserError for a policy that a student cannot have.

    Raises:
        UserError: the policy is not a known alias or actor-critic policy, is recurrent, or uses
            gSDE.
    """
    names = ", ".join(aliases)
    if isinstance(policy, str):
        if policy not in aliases:
            raise UserError(f"There is no policy {policy!r}. Choose one of {names}, or a class.")
    elif not (inspect.isclass(policy) and issubclass(policy, ActorCriticPolicy)):
        name = policy.__name__ if inspect.isclass(policy) else repr(policy)
        raise UserError(
            f"The student's policy {name} is not an ActorCriticPolicy with action distribution "
            f"and value. Choose one of {names}, or a subclass of ActorCriticPolicy."
        )
    elif issubclass(policy, RecurrentActorCriticPolicy):
        raise UserError(
            f"The student's policy {policy.__name__} is recurrent, but rollouts do not store "
            f"hidden states. Choose one of {names}, and stack observations instead."
        )
    if policy_kwargs and policy_kwargs.get("use_sde"):
        refuse_sde(True)


def refuse_sde(use_sde: bool) -> None:
    """Raise UserError for gSDE, whose noise depends on the state, so that no KL is exact."""
    if use_sde:
        raise UserError(
            "A student cannot use gSDE (use_sde): there is no exact KL to its teacher. Leave out "
            "use_sde."
        )


def tensorboard_folder(folder: str | None) -> str | None:
    """Return `folder`, or warn and return None if tensorboard is not installed."""
    if folder is None or find_spec("tensorboard") is not None:
        return folder
    warnings.warn(
        f"tensorboard is not installed, so nothing is written to {folder}. Install it with "
        "`pip install tensorboard`, or leave tensorboard_log out.",
        stacklevel=2,
    )
    return None
