"""The losses of cloning against hand arithmetic and float64 references in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from Algorithm.cloning.losses import (
    beta_nll_loss,
    cloning_losses,
    kl_loss,
    mse_loss,
    nll_loss,
    priority_loss,
)
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)


@pytest.mark.parametrize(
    ("student", "teacher", "priority"),
    [  # ln p(own mode) - ln p(the teacher's): the logits of the one action that differs
        (
            MultiCategorical(torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])),
            MultiCategorical(torch.tensor([[[2.0, 0.0], [2.0, 0.0]]])),
            2.0,
        ),
        (Bernoulli(torch.tensor([[1.0, -1.0]])), Bernoulli(torch.tensor([[1.0, 1.0]])), 1.0),
    ],
)
def test_several_discrete_actions_have_no_difference_but_agree_in_part(
    student: Distribution, teacher: Distribution, priority: float
) -> None:
    losses = cloning_losses(student, teacher)
    assert losses.keys() == {"NLL", "KL"}
    torch.testing.assert_close(losses["NLL"], -student.log_prob(teacher.mode()))
    assert priority_loss("NLL", student, teacher).item() == pytest.approx(priority)
    with pytest.raises(TypeError, match="no mean squared error"):
        mse_loss(student, teacher)


def random_pair(cls: type[DiagGaussian]) -> tuple[DiagGaussian, DiagGaussian, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(50, 3)) * scale for scale in (1.0, 0.5, 1.0, 0.5)]
    m_s, l_s, m_t, l_t = (torch.as_tensor(array) for array in arrays)
    return cls(m_s, l_s), cls(m_t, l_t), arrays


def test_gaussian_losses_equal_float64_references() -> None:
    student, teacher, (m_s, l_s, m_t, l_t) = random_pair(DiagGaussian)
    losses = cloning_losses(student, teacher)
    density = np.exp(-0.5 * ((m_t - m_s) / np.exp(l_s)) ** 2) / np.sqrt(2 * np.pi) / np.exp(l_s)
    np.testing.assert_allclose(losses["NLL"], -np.log(density).sum(1), rtol=1e-10)
    variance_s, variance_t = np.exp(2 * l_s), np.exp(2 * l_t)
    kl = np.log(variance_s / variance_t) / 2
    kl = (kl + (variance_t + (m_t - m_s) ** 2) / (2 * variance_s) - 0.5).sum(1)
    np.testing.assert_allclose(losses["KL"], kl, rtol=1e-10)
    np.testing.assert_allclose(losses["MSE"], ((m_s - m_t) ** 2).mean(1), rtol=1e-10)


def test_squashed_losses_equal_float64_references() -> None:
    student, teacher, (m_s, l_s, m_t, _) = random_pair(SquashedGaussian)
    losses = cloning_losses(student, teacher)
    density = np.exp(-0.5 * ((m_t - m_s) / np.exp(l_s)) ** 2) / np.sqrt(2 * np.pi) / np.exp(l_s)
    density /= 1 - np.tanh(m_t) ** 2
    np.testing.assert_allclose(losses["NLL"], -np.log(density).sum(1), rtol=1e-8)
    np.testing.assert_allclose(
        losses["MSE"], ((np.tanh(m_s) - np.tanh(m_t)) ** 2).mean(1), rtol=1e-10
    )
    gaussian_student, gaussian_teacher, _ = random_pair(DiagGaussian)
    torch.testing.assert_close(losses["KL"], kl_loss(gaussian_student, gaussian_teacher))


def test_categorical_losses_by_hand() -> None:
    # Student 1/4, 3/4; teacher 2/3, 1/3, whose mode is action 0.
    student = Categorical(torch.tensor([[0.25, 0.75]]).log())
    teacher = Categorical(torch.tensor([[2 / 3, 1 / 3]]).log())
    losses = cloning_losses(student, teacher)
    assert losses.keys() == {"NLL", "KL"}
    assert losses["NLL"].item() == pytest.approx(math.log(4))
    kl = 2 / 3 * math.log(8 / 3) + 1 / 3 * math.log(4 / 9)
    assert losses["KL"].item() == pytest.approx(kl)
    assert priority_loss("NLL", student, teacher).item() == pytest.approx(math.log(3))
    with pytest.raises(TypeError, match="mean squared"):
        mse_loss(student, teacher)


@pytest.mark.parametrize("cls", [DiagGaussian, SquashedGaussian])
def test_priorities_are_never_negative_and_take_no_gradient(cls: type[DiagGaussian]) -> None:
    _, teacher, _ = random_pair(cls)
    mean = teacher.mean.clone().requires_grad_()
    student = cls(mean + 1.0, torch.full_like(mean, -3.0))
    for loss_type in ("NLL", "KL", "MSE"):
        priority = priority_loss(loss_type, student, teacher)
        assert not priority.requires_grad
        assert (priority >= 0).all()
        assert (priority_loss(loss_type, teacher, teacher) == 0).all()
    # 3 dimensions, each off by one: 3 (1 / exp(-3))^2 / 2.
    expected = torch.full((50,), 1.5 * math.exp(6), dtype=torch.float64)
    torch.testing.assert_close(priority_loss("NLL", student, teacher), expected)


@pytest.mark.parametrize("cls", [DiagGaussian, SquashedGaussian])
def test_beta_nll_lies_between_nll_and_mse(cls: type[DiagGaussian]) -> None:
    """The gradients of the means are (m_S - m_T) s^(2 beta - 2), by hand in float64."""
    student, teacher, (m_s, l_s, m_t, _) = random_pair(cls)
    for beta in (0.0, 0.5, 1.0):
        mean, log_std = student.mean.clone().requires_grad_(), student.log_std.clone()
        log_std.requires_grad_()
        beta_nll_loss(cls(mean, log_std), teacher, beta).sum().backward()
        assert mean.grad is not None and log_std.grad is not None
        expected = (m_s - m_t) * np.exp(2 * beta * l_s - 2 * l_s)
        np.testing.assert_allclose(mean.grad, expected, rtol=1e-10)
        # d/d ln s of the NLL is 1 - z^2; the weight takes no gradient.
        weighted = np.exp(2 * beta * l_s) * (1 - ((m_t - m_s) / np.exp(l_s)) ** 2)
        np.testing.assert_allclose(log_std.grad, weighted, rtol=1e-10)
    if cls is DiagGaussian:
        torch.testing.assert_close(beta_nll_loss(student, teacher, 0.0), nll_loss(student, teacher))
    discrete = Categorical(torch.zeros(1, 2))
    with pytest.raises(TypeError, match="Only Gaussians"):
        beta_nll_loss(discrete, discrete, 0.5)


def test_gradients_equal_finite_differences() -> None:
    for cls in (DiagGaussian, SquashedGaussian):
        student, teacher, _ = random_pair(cls)
        inputs = (student.mean[:4].requires_grad_(), student.log_std[:4].requires_grad_())
        for loss in (nll_loss, kl_loss, mse_loss):
            assert torch.autograd.gradcheck(
                lambda m, s, f=loss, c=cls, t=teacher[:4]: f(c(m, s), t).mean(), inputs
            )
