"""Returns and loss of REINFORCE and the actor-critic, as pure functions.

Equations are those of Williams, "Simple statistical gradient-following algorithms for
connectionist reinforcement learning", Machine Learning 8, 1992, and of Sutton and Barto,
"Reinforcement Learning: An Introduction", second edition, 2018, sections 13.3 to 13.5.

As in most implementations, the book's factor gamma^t of step t is left out: the discount shortens
the horizon of each return, but late steps of an episode count as much as early ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def discounted_returns(rewards: np.ndarray, ends: np.ndarray, gamma: float) -> np.ndarray:
    """Return G_t = r_t + gamma G_{t+1}, with G = 0 after the last step (Sutton and Barto, 3.9).

    Args:
        rewards: rewards of complete episodes one after another, `(B,)`.
        ends: whether a step is the last of its episode, bool `(B,)`.

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
    """Return G_t = r_t + ... + gamma^(n-1) r_{t+n-1} + gamma^n V(s_{t+n}) (Sutton and Barto, 7.1).

    n is smaller if the episode ends earlier, and nothing is added after its end: for a truncated
    episode, the last reward must include gamma V of the terminal observation. With n = 1 these are
    the targets of the one-step actor-critic.

    Args:
        rewards, values: rewards and values of complete episodes one after another, `(B,)`.
        ends: whether a step is the last of its episode, bool `(B,)`.

    Returns:
        `(B,)`, without a gradient.
    """
    discounts = gamma * (~ends).to(rewards.dtype)
    targets = values.detach()
    for _ in range(n_steps):
        targets = rewards + discounts * torch.roll(targets, -1)  # the last step is always an end
    return targets


def policy_gradient_loss(log_prob: Tensor, weights: Tensor) -> Tensor:
    """Return -mean[ln pi(a_t|s_t) w_t], whose negative gradient estimates the policy gradient.

    w_t = G_t - b is REINFORCE with baseline b (Williams, theorem 1; Sutton and Barto, 13.11), and
    w_t = G_t^(n) - V(s_t) the actor-critic (13.13 and 13.14, n = 1).

    Args:
        log_prob: log-probabilities with gradient, `(B,)`.
        weights: weights without gradient, `(B,)`.
    """
    return -(log_prob * weights).mean()
