"""Settings of the conversion of deterministic agents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Softening:
    """Settings that turn a deterministic agent into a distribution."""

    # TD3, DDPG, ARS: standard deviation around the action, in half widths of the action's bounds.
    action_std: float = 0.1  # TD3's own exploration noise
    # DQN, QRDQN: softmax(Q / temperature), in the units of Q; ARS: the same with its scores.
    temperature: float = 0.01  # Rusu et al., "Policy Distillation", 2016
