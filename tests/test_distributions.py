"""Distributions against hand arithmetic, torch.distributions in float64, and SB3's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common import distributions as sb3
from torch.distributions import Independent, Normal, TransformedDistribution, kl_divergence
from torch.distributions import Categorical as TorchCategorical
from torch.distributions.transforms import TanhTransform

from Models.distributions import Categorical, DiagGaussian, SquashedGaussian, from_sb3


def _params(seed: int, batch: int = 50, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    log_std = 0.5 * torch.randn(batch, dim, generator=generator, dtype=torch.float64) - 1
    return mean, log_std


def test_gaussian_kl_by_hand() -> None:
    # KL(N(0, 1) || N(1, 2)) = ln 2 + (1 + 1) / 8 - 1/2 = 0.443147; two such dimensions add up.
    p = DiagGaussian(torch.zeros(1, 2), torch.zeros(1, 2))
    q = DiagGaussian(torch.ones(1, 2), torch.full((1, 2), math.log(2)))
    assert p.kl(q).item() == pytest.approx(2 * 0.4431472, abs=1e-6)
    # The other way round: -ln 2 + (4 + 1) / 2 - 1/2 = 1.306853.
    assert q.kl(p).item() == pytest.approx(2 * 1.3068528, abs=1e-6)


@pytest.mark.parametrize("family", [DiagGaussian, SquashedGaussian])
def test_gaussian_kl_equals_torch(family: type[DiagGaussian]) -> None:
    p, q = _params(0), _params(1)
    expected = kl_divergence(Normal(p[0], p[1].exp()), Normal(q[0], q[1].exp())).sum(-1)
    torch.testing.assert_close(family(*p).kl(family(*q)), expected)


def test_squashed_kl_is_that_of_the_actions() -> None:
    # A Monte Carlo estimate over actions, with the densities of torch's transformed Gaussian.
    torch.manual_seed(0)
    p, q = SquashedGaussian(*_params(0, 1, 1)), SquashedGaussian(*_params(1, 1, 1))
    raw = p.mean + p.log_std.exp() * torch.randn(400_000, 1, dtype=torch.float64)
    actions = torch.tanh(raw)
    estimate = (_torch_squashed(p).log_prob(actions) - _torch_squashed(q).log_prob(actions)).mean()
    assert p.kl(q).item() == pytest.approx(estimate.item(), rel=0.01)


def _torch_squashed(dist: DiagGaussian) -> TransformedDistribution:
    base = Independent(Normal(dist.mean, dist.log_std.exp()), 1)
    return TransformedDistribution(base, TanhTransform(cache_size=1))


def test_squashed_log_prob_equals_torch() -> None:
    dist = SquashedGaussian(*_params(2))
    raw = dist.mean + 0.3
    expected = _torch_squashed(dist).log_prob(torch.tanh(raw))
    torch.testing.assert_close(dist.log_prob(raw), expected, rtol=1e-6, atol=1e-6)


def test_squashed_log_prob_stays_finite_where_tanh_saturates() -> None:
    dist = SquashedGaussian(torch.full((1, 1), 30.0), torch.zeros(1, 1))
    # ln(1 - tanh(30)^2) -> 2 (ln 2 - 30); the Gaussian at its mean is -ln sqrt(2 pi).
    expected = -0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 30)
    assert dist.log_prob(dist.mean).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("log_std", [-3.0, -1.0, 0.0, 1.0])
def test_squashed_entropy_equals_integration(log_std: float) -> None:
    dist = SquashedGaussian(
        torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[log_std]], dtype=torch.float64)
    )
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64).unsqueeze(-1) * math.exp(log_std)
    raw = grid + dist.mean
    gaussian = Normal(dist.mean, dist.log_std.exp()).log_prob(raw).exp().squeeze(-1)
    expected = -(gaussian * dist.log_prob(raw)).sum() * (grid[1] - grid[0]).item()
    assert dist.entropy().item() == pytest.approx(expected.item(), abs=2e-3)


def test_categorical_equals_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(20, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    ours, other = Categorical(p), Categorical(q)
    theirs = TorchCategorical(logits=p)
    actions = torch.randint(0, 5, (20,), generator=generator)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    expected = kl_divergence(theirs, TorchCategorical(logits=q))
    torch.testing.assert_close(ours.kl(other), expected)


def test_kl_between_families_is_refused_by_name() -> None:
    mean, log_std = _params(0)
    with pytest.raises(TypeError, match="squashed_gaussian and gaussian"):
        SquashedGaussian(mean, log_std).kl(DiagGaussian(mean, log_std))


def test_indexing_and_params_give_the_same_rows() -> None:
    dist = SquashedGaussian(*_params(0))
    rows = torch.tensor([4, 2])
    torch.testing.assert_close(dist[rows].log_std, dist.params()["log_std"][rows])
    assert type(dist[rows]) is SquashedGaussian


def test_samples_have_the_distribution_and_no_gradient() -> None:
    torch.manual_seed(0)
    mean = torch.full((100_000, 1), 0.5, requires_grad=True)
    raw = DiagGaussian(mean, torch.full((100_000, 1), math.log(0.2))).sample()
    assert not raw.requires_grad
    assert raw.mean().item() == pytest.approx(0.5, abs=0.003)
    assert raw.std().item() == pytest.approx(0.2, abs=0.003)


def test_from_sb3_gaussian_and_squashed() -> None:
    mean, log_std = torch.randn(6, 4), torch.full((4,), -0.3)
    gaussian = sb3.DiagGaussianDistribution(4).proba_distribution(mean, log_std)
    actions = torch.randn(6, 4)
    torch.testing.assert_close(from_sb3(gaussian).log_prob(actions), gaussian.log_prob(actions))
    torch.testing.assert_close(from_sb3(gaussian).entropy(), gaussian.entropy())
    squashed = sb3.SquashedDiagGaussianDistribution(4).proba_distribution(
        mean, log_std.expand(6, 4)
    )
    raw = 0.5 * actions
    theirs = squashed.log_prob(torch.tanh(raw), raw)
    torch.testing.assert_close(from_sb3(squashed).log_prob(raw), theirs, rtol=1e-3, atol=1e-3)


def test_from_sb3_categorical() -> None:
    logits = torch.randn(6, 3)
    theirs = sb3.make_proba_distribution(spaces.Discrete(3))
    assert isinstance(theirs, sb3.CategoricalDistribution)
    theirs.proba_distribution(action_logits=logits)
    actions = torch.as_tensor(np.array([0, 1, 2, 0, 1, 2]))
    torch.testing.assert_close(from_sb3(theirs).log_prob(actions), theirs.log_prob(actions))
