"""The losses against hand arithmetic and an independent float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Algorithm.on_policy.losses import (
    kl_to_teacher,
    normalise_advantages,
    ppd_distillation_loss,
    ppo_loss,
    probability_ratio,
    value_loss,
)
from Models.distributions import DiagGaussian


def test_ppo_loss_by_hand() -> None:
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5])
    advantages = torch.tensor([2.0, 2.0, -2.0, -2.0])
    # eps = 0.2: min(3, 2.4) = 2.4; min(1, 1.6) = 1; min(-3, -2.4) = -3; min(-1, -1.6) = -1.6.
    assert ppo_loss(ratio, advantages, 0.2).item() == pytest.approx(-(2.4 + 1 - 3 - 1.6) / 4)


def test_ppo_loss_equals_the_papers_form() -> None:
    # g(eps, A) = (1 + eps) A if A >= 0 else (1 - eps) A, in NumPy's float64.
    rng = np.random.default_rng(0)
    ratio, advantages = np.exp(rng.normal(size=1000)), rng.normal(size=1000)
    g = np.where(advantages >= 0, 1.3 * advantages, 0.7 * advantages)
    expected = -np.minimum(ratio * advantages, g).mean()
    ours = ppo_loss(torch.as_tensor(ratio), torch.as_tensor(advantages), 0.3)
    assert ours.item() == pytest.approx(expected, rel=1e-12)


def test_distillation_loss_by_hand() -> None:
    kl, ratio = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.1, 1.0, 3.0])
    # max(r, 0.8) = 0.8, 1, 3: (0.8 + 2 + 12) / 3.
    assert ppd_distillation_loss(kl, ratio, 0.2).item() == pytest.approx(14.8 / 3)


def test_distillation_gradient_goes_through_the_ratio_unless_detached() -> None:
    kl = torch.tensor([2.0, 3.0])
    ratio = torch.tensor([1.5, 0.1], requires_grad=True)
    ppd_distillation_loss(kl, ratio, 0.2).backward()
    # d/dr mean(KL max(r, 0.8)) = KL / 2 where r > 0.8, else 0.
    torch.testing.assert_close(ratio.grad, torch.tensor([1.0, 0.0]))
    assert not ppd_distillation_loss(kl, ratio.detach(), 0.2).requires_grad


def test_kl_directions_by_hand() -> None:
    # One dimension, both of deviation 1: KL = (difference of means)^2 / 2 either way; with the
    # teacher's deviation 2: forward -ln 2 + (4 + 9) / 2 - 1/2, reverse ln 2 + (1 + 9) / 8 - 1/2.
    teacher = DiagGaussian(torch.tensor([[3.0]]), torch.tensor([[2.0]]).log())
    student = DiagGaussian(torch.tensor([[0.0]]), torch.tensor([[0.0]]))
    forward = kl_to_teacher(teacher, student, "forward").item()
    reverse = kl_to_teacher(teacher, student, "reverse").item()
    assert forward == pytest.approx(-np.log(2) + 6.5 - 0.5, rel=1e-6)
    assert reverse == pytest.approx(np.log(2) + 10 / 8 - 0.5, rel=1e-6)


def test_kl_gradient_equals_float64_finite_differences() -> None:
    torch.manual_seed(0)
    teacher = DiagGaussian(torch.randn(4, 3).double(), torch.randn(4, 3).double())
    mean = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    log_std = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    for direction in ("forward", "reverse"):
        assert torch.autograd.gradcheck(
            lambda m, s, d=direction: kl_to_teacher(teacher, DiagGaussian(m, s), d).mean(),
            (mean, log_std),
        )


def test_ratio_value_loss_and_advantages_by_hand() -> None:
    ratio = probability_ratio(torch.tensor([np.log(0.5)]), torch.tensor([np.log(0.25)]))
    assert ratio.item() == pytest.approx(2.0)
    assert value_loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])).item() == 2.5
    # Mean 2, sample deviation 1.
    normalised = normalise_advantages(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(normalised, torch.tensor([-1.0, 0.0, 1.0]))
    assert normalise_advantages(torch.tensor([5.0])).item() == 5.0
