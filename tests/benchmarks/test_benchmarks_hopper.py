"""The benchmark's rival computes what PPD computes, by SB3's own means."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from Algorithm import ProximalPolicyDistillation
from benchmarks.rivals.recomputing_loop import RecomputingPPD


def test_the_rival_ends_with_the_same_weights() -> None:
    """KL, losses and gradients of two rollouts, by torch.distributions there and by hand here."""
    arguments: dict[str, Any] = {
        "n_steps": 32,
        "batch_size": 16,
        "n_epochs": 3,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "seed": 0,
        "device": "cpu",
    }
    teacher = PPO("MlpPolicy", make_vec_env("Pendulum-v1", 2, seed=1), **arguments)
    for parameter in teacher.policy.action_net.parameters():
        parameter.data.mul_(300)  # or there would be little to distil
    ours = ProximalPolicyDistillation("MlpPolicy", make_vec_env("Pendulum-v1", 2), **arguments)
    start = [p.clone() for p in ours.policy.parameters()]
    ours.set_teacher(teacher, distill_lambda=2.0)
    ours.learn(128)
    rival = RecomputingPPD("MlpPolicy", make_vec_env("Pendulum-v1", 2), **arguments)
    rival.teacher, rival.distill_lambda = teacher, 2.0
    rival.learn(128)
    for a, b in zip(ours.policy.parameters(), rival.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    moved = zip(ours.policy.parameters(), start, strict=True)
    assert max((p - q).abs().max().item() for p, q in moved) > 1e-2
