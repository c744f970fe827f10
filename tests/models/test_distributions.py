"""Distributions against hand arithmetic, torch.distributions in float64, and SB3's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common import distributions as sb3
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal, TransformedDistribution, kl_divergence
from torch.distributions.transforms import TanhTransform

from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
    from_sb3,
)


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


def test_means_far_out_of_the_bounds_are_moved_to_their_margin() -> None:
    """Bounds of -1 and 1; stds of 0.5 and 2: means reach from -1.25 to 1.25 and from -2 to 2."""
    mean = torch.tensor([[-3.0, 0.25], [1.25, 7.0], [1.0, -2.0]])
    log_std = torch.tensor([0.5, 2.0]).log().expand(3, 2)
    low, high = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])
    moved = DiagGaussian(mean, log_std).within(low, high, 0.5)
    torch.testing.assert_close(moved.mean, torch.tensor([[-1.25, 0.25], [1.25, 2.0], [1.0, -2.0]]))
    assert moved.log_std is log_std
    unbounded = DiagGaussian(mean, log_std).within(-torch.inf * high, torch.inf * high, 0.5)
    assert torch.equal(unbounded.mean, mean)


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


CHOICES = (3, 2, 5)


def _flat_logits(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(20, sum(CHOICES), generator=generator, dtype=torch.float64)


def test_multi_categorical_equals_torchs_categoricals_summed() -> None:
    p, q = _flat_logits(0), _flat_logits(1)
    ours, other = (MultiCategorical.from_flat(logits, CHOICES) for logits in (p, q))
    theirs = [TorchCategorical(logits=part) for part in p.split(CHOICES, -1)]
    others = [TorchCategorical(logits=part) for part in q.split(CHOICES, -1)]
    raw = torch.stack([dist.sample() for dist in theirs], dim=-1)  # (B, 3)
    expected = sum(dist.log_prob(raw[:, i]) for i, dist in enumerate(theirs))
    torch.testing.assert_close(ours.log_prob(raw), expected)
    torch.testing.assert_close(ours.entropy(), sum(dist.entropy() for dist in theirs))
    kl = sum(kl_divergence(a, b) for a, b in zip(theirs, others, strict=True))
    torch.testing.assert_close(ours.kl(other), kl)
    torch.testing.assert_close(ours.mode(), torch.stack([d.logits.argmax(-1) for d in theirs], -1))


def test_multi_categorical_kl_by_hand() -> None:
    # Each: (1/4, 3/4) to (1/2, 1/2): 1/4 ln(1/2) + 3/4 ln(3/2) = 0.130812; and uniform to
    # itself over three: 0.
    flat = torch.tensor([[1.0, 3.0, 1.0, 1.0, 1.0]]).log()
    p = MultiCategorical.from_flat(flat, (2, 3))
    q = MultiCategorical.from_flat(torch.zeros(1, 5), (2, 3))
    assert p.kl(q).item() == pytest.approx(0.1308120, abs=1e-6)


def test_choices_that_an_action_lacks_are_never_taken_and_give_finite_gradients() -> None:
    torch.manual_seed(0)
    flat = torch.zeros(20_000, 7, requires_grad=True)
    dist = MultiCategorical.from_flat(flat, (2, 5))
    raw = dist.sample()
    assert raw.shape == (20_000, 2)
    assert (int(raw[:, 0].max()), int(raw[:, 1].max())) == (1, 4)
    other = MultiCategorical.from_flat(torch.randn(20_000, 7), (2, 5))
    (dist.kl(other) + other.kl(dist) + dist.entropy() + dist.log_prob(raw)).sum().backward()
    assert flat.grad is not None and bool(flat.grad.isfinite().all())
    assert all(bool(value.isfinite().all()) for value in dist.params().values())


def test_bernoulli_equals_torch() -> None:
    p, q = 3 * _flat_logits(0), 3 * _flat_logits(1)
    ours, theirs = Bernoulli(p), TorchBernoulli(logits=p)
    raw = theirs.sample()
    torch.testing.assert_close(ours.log_prob(raw.long()), theirs.log_prob(raw).sum(-1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    expected = kl_divergence(theirs, TorchBernoulli(logits=q)).sum(-1)
    torch.testing.assert_close(ours.kl(Bernoulli(q)), expected)
    assert torch.equal(ours.mode(), (p > 0).long())


def test_bernoulli_stays_finite_where_it_is_certain() -> None:
    p, q = Bernoulli(torch.tensor([[200.0]])), Bernoulli(torch.tensor([[-200.0]]))
    # KL = p (l1 - l2) + softplus(l2) - softplus(l1) = 400 + 0 - 200.
    assert p.kl(q).item() == pytest.approx(200.0)
    assert p.entropy().item() == pytest.approx(0.0, abs=1e-6)
    assert p.log_prob(torch.tensor([[0]])).item() == pytest.approx(-200.0)


def test_discrete_samples_have_the_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[1.0, 3.0, 1.0, 1.0, 2.0]]).log().expand(50_000, 5)
    raw = MultiCategorical.from_flat(logits, (2, 3)).sample()
    assert raw[:, 0].float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert (raw[:, 1] == 2).float().mean().item() == pytest.approx(0.5, abs=0.01)
    switched = Bernoulli(torch.full((50_000, 1), math.log(0.25))).sample()
    # sigmoid(ln 1/4) = 1/5.
    assert switched.float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert switched.dtype == raw.dtype == torch.int64


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


def test_from_sb3_multi_categorical_and_bernoulli() -> None:
    multi = sb3.make_proba_distribution(spaces.MultiDiscrete(list(CHOICES)))
    multi.proba_distribution(action_logits=_flat_logits(0))
    raw = multi.sample()
    torch.testing.assert_close(from_sb3(multi).log_prob(raw), multi.log_prob(raw))
    torch.testing.assert_close(from_sb3(multi).entropy(), multi.entropy())
    switches = sb3.make_proba_distribution(spaces.MultiBinary(4))
    switches.proba_distribution(action_logits=torch.randn(6, 4))
    raw = switches.sample()
    torch.testing.assert_close(from_sb3(switches).log_prob(raw), switches.log_prob(raw))
    torch.testing.assert_close(from_sb3(switches).entropy(), switches.entropy())
