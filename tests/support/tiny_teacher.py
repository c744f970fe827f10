"""A teacher of random weights: training needs no better one to be tested."""

from __future__ import annotations

import torch

from Models.distributions import SquashedGaussian
from Models.teacher.policy import Teacher, TeacherDescription


def tiny_teacher(
    family: str = SquashedGaussian.family,
    state_dim: int = 23,
    action_dim: int = 7,
    bound: float = 2.0,
    task: str = "Pusher",
    baselines: dict[str, dict[str, list[float]]] | None = None,
) -> Teacher:
    """One hidden layer of 8 units; for a squashed Gaussian a deviation of about exp(-1)."""
    description = TeacherDescription(
        task=task,
        algo="sac" if family == SquashedGaussian.family else "ppo",
        family=family,
        state_dim=state_dim,
        action_dim=action_dim,
        action_low=(-bound,) * action_dim,
        action_high=(bound,) * action_dim,
        actor_layers=(8,),
        critic_layers=(8,),
        n_critics=1,
        value_kind="state",
        activation="ReLU",
        normaliser_clip=10.0,
        normaliser_epsilon=1e-8,
        reward_scale=1.0,
        gamma=0.99,
        command="none",
        versions={},
        baselines=baselines or {},
    )
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    tensors = {
        "state_normaliser.mean": torch.zeros(state_dim, dtype=torch.float64),
        "state_normaliser.var": torch.ones(state_dim, dtype=torch.float64),
        "actor.0.weight": normal(8, state_dim),
        "actor.0.bias": normal(8),
        "head.weight": normal(action_dim, 8),
        "head.bias": normal(action_dim),
        "critics.0.0.weight": normal(8, state_dim),
        "critics.0.0.bias": normal(8),
        "critics.0.2.weight": normal(1, 8),
        "critics.0.2.bias": normal(1),
    }
    if family == SquashedGaussian.family:
        tensors["log_std_head.weight"] = 0.1 * normal(action_dim, 8)
        tensors["log_std_head.bias"] = torch.full((action_dim,), -1.0)
    else:
        tensors["log_std"] = torch.full((action_dim,), -1.0)
    return Teacher(description, tensors)
