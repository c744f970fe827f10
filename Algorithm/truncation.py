"""Bootstrap the return of truncated episodes, which continues beyond the time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Algorithm.on_policy.rollout import Obs


def truncation_bonus(
    values: Callable[[Obs, np.ndarray], Tensor],
    infos: list[dict[str, Any]],
    dones: np.ndarray,
    gamma: float,
) -> np.ndarray:
    """Return gamma V(terminal observation) for episodes truncated by a time limit.

    Args:
        values: the critic, from observations of n environments and their indices to `(n,)`.
        infos: SB3's infos, one per environment.
        dones: `(n_envs,)`.

    Returns:
        `(n_envs,)`, to add to the rewards; 0 for all other environments.
    """
    bonus = np.zeros(len(dones), np.float32)
    cut = [i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)]
    if cut:
        terminal = _stack_obs([infos[i]["terminal_observation"] for i in cut])
        with torch.no_grad():
            bonus[cut] = gamma * values(terminal, np.array(cut)).cpu().numpy()
    return bonus


def _stack_obs(observations: list[Obs]) -> Obs:
    first = observations[0]
    if isinstance(first, dict):
        return {key: _stack([obs[key] for obs in observations]) for key in first}  # pyright: ignore[reportArgumentType, reportCallIssue]
    return _stack(observations)


def _stack(parts: list[Any]) -> Any:
    return torch.stack(parts) if isinstance(parts[0], Tensor) else np.stack(parts)
