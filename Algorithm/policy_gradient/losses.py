"""REINFORCE's and the actor-critic's returns and loss, as pure functions.

Equations are those of Williams, "Simple statistical gradient-following algorithms for
connectionist reinforcement learning", Machine Learning 8, 1992, and of Sutton and Barto,
"Reinforcement Learning: An Introduction", second edition, 2018, sections 13.3 to 13.5.

As nearly everywhere, the book's factor gamma^t of step t is left out: the discount shortens the
horizon of each return, but late steps of an episode count as much as early ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def discounted_returns(rewards: np.ndarray, ends: np.ndarray, gamma: float) -> np.ndarray:
    """G_t = r_t + gamma G_{t+1}, with G = 0 after an episode's last step (Sutton and Barto, 3.9).

    Args:
        rewards: of whole episodes one after another, `(B,)`.
        ends: where a step is its episode's last, bool `(B,)`.

    Returns:
        float64 `(B,)`.
    """
    returns = np.empty(len(rewards))
    following = 0.0
    for t in reversed(range(len(rewards))):
        following = float(rewards[t]) + (0.0 if ends[t] else gamma * following)
        returns[t] = following
    return returns


def n_step_returns(
    rewards: Tensor, values: Tensor, ends: Tensor, gamma: float, n_steps: int
) -> Tensor:
    """G_t = r_t + ... + gamma^(n-1) r_{t+n-1} + gamma^n V(s_{t+n}) (Sutton and Barto, 7.1).

    n is smaller where the episode ends before, and nothing is added for what comes after its end:
    for an episode that a time limit cut off, the last reward has to hold gamma V of what it
    showed last. With n = 1 these are the targets of the one-step actor-critic.

    Args:
        rewards, values: of whole episodes one after another, `(B,)`.
        ends: where a step is its episode's last, bool `(B,)`.

    Returns:
        `(B,)`, without a gradient.
    """
    goes_on = gamma * (~ends).to(rewards.dtype)
    targets = values.detach()
    for _ in range(n_steps):
        targets = rewards + goes_on * torch.roll(targets, -1)  # what wraps around meets an end
    return targets


def policy_gradient_loss(log_prob: Tensor, weights: Tensor) -> Tensor:
    """-mean[ln pi(a_t|s_t) w_t], whose negative gradient is the policy gradient's estimate.

    w_t = G_t - b is REINFORCE with baseline b (Williams, theorem 1; Sutton and Barto, 13.11), and
    w_t = G_t^(n) - V(s_t) the actor-critic (13.13 and 13.14, n = 1).

    Args:
        log_prob: with gradient, `(B,)`.
        weights: without, `(B,)`.
    """
    return -(log_prob * weights).mean()
