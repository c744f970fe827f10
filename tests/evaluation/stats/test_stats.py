"""Statistics against hand arithmetic, simulations and, where it is installed, scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Common.errors import UserError
from Evaluation.stats.estimates import (
    Estimate,
    difference,
    estimate,
    geometric_iqm,
    iqm,
    performance_profile,
    probability_of_improvement,
    share_interval,
)

RAGGED = {"a": [1.0, 2.0, 3.0], "b": [10.0], "c": [4.0, 5.0]}


# By hand


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0, 5.0], 3.0),  # a quarter of 3 is less than one score
        ([100.0, 2.0, 1.0, 4.0], 3.0),  # (2 + 4) / 2
        ([9.0, 1.0, 2.0, 3.0, -50.0], 2.0),  # (1 + 2 + 3) / 3
        ([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.5], 4.625),  # (3 + 4.5 + 5 + 6) / 4
    ],
)
def test_iqm(scores, expected):
    assert iqm(np.array(scores)) == pytest.approx(expected)


def test_geometric_iqm():
    # Half and twice as good cancel; 0.001 and 1000 are trimmed.
    assert geometric_iqm(np.array([1000.0, 0.5, 2.0, 0.001])) == pytest.approx(1.0)
    assert geometric_iqm(np.array([2.0, 8.0])) == pytest.approx(4.0)


def test_statistics_are_over_the_last_axis():
    scores = np.array([[1.0, 2.0, 4.0, 100.0], [3.0, 3.0, 3.0, 3.0]])
    np.testing.assert_allclose(iqm(scores), [3.0, 3.0])
    np.testing.assert_allclose(geometric_iqm(scores), [math.sqrt(8), 3.0])


def test_scores_are_pooled():
    # 1 2 3 4 5 10 without 1 and 10.
    assert estimate(RAGGED, iqm).value == pytest.approx(3.5)
    matrix = np.array([[1.0, 10.0], [2.0, 20.0]])
    as_mapping = {"x": [1.0, 2.0], "y": [10.0, 20.0]}
    assert estimate(matrix, iqm) == estimate(as_mapping, iqm)
    assert estimate(matrix, iqm).value == pytest.approx(6.0)


def test_probability_of_improvement():
    # a: 2 beats 1 and ties with 2, 3 beats both, 1 ties with 1: 4 of 6 pairs. b: 0 of 1.
    x = {"a": [2.0, 3.0, 1.0], "b": [0.0]}
    y = {"b": [1.0], "a": [1.0, 2.0]}
    p = probability_of_improvement(x, y)
    assert p.value == pytest.approx((4 / 6 + 0) / 2)
    mirrored = probability_of_improvement(y, x)
    assert p.value + mirrored.value == pytest.approx(1.0)


# Intervals


def test_a_difference_by_hand():
    # Of three numbers none is dropped, so the interquartile mean is the mean: 0.92 - 0.52.
    gap = difference(np.array([0.9, 0.92, 0.94]), np.array([0.5, 0.52, 0.54]))
    assert gap.value == pytest.approx(0.4)
    assert gap.low is not None
    assert gap.high is not None
    assert 0.36 <= gap.low < 0.4 < gap.high <= 0.44  # the ends: all drawn alike, 0.9 - 0.54
    assert difference(np.array([0.9]), np.array([0.5, 0.6])).low is None


def test_a_performance_profile_by_hand():
    scores = {"a": [0.1, 0.5], "b": [0.5, 0.9]}
    profile = performance_profile(scores, [0.0, 0.1, 0.5, 0.9], resamples=500)
    # Scores equal to a threshold are not above it.
    assert [share.value for share in profile] == [1.0, 0.75, 0.25, 0.0]
    # All resamples are above 0. At 0.1, those of a have 0, 1 or 2 of 4 runs above, of b always 2.
    assert [(share.low, share.high) for share in profile[:2]] == [(1.0, 1.0), (0.5, 1.0)]
    assert performance_profile({"": [0.3]}, [0.2])[0] == Estimate(1.0)


def test_the_interval_of_two_runs():
    # Of two runs a resample is 0, 5 or 10, at 1/4, 1/2, 1/4.
    wide = estimate({"a": [0.0, 10.0]}, iqm)
    assert (wide.value, wide.low, wide.high) == (5.0, 0.0, 10.0)
    narrow = estimate({"a": [0.0, 10.0]}, iqm, level=0.4)
    assert (narrow.low, narrow.high) == (5.0, 5.0)


def test_resampling_stays_within_environments():
    # Between the environments lie 100, within them 1: drawn across them, means would vary by 20.
    rng = np.random.default_rng(3)
    scores = {"low": rng.normal(0, 1, 10), "high": rng.normal(100, 1, 10)}
    e = estimate(scores, lambda pooled: pooled.mean(axis=-1))
    assert e.low is not None and e.high is not None
    assert 0.3 < e.high - e.low < 1.5  # 2 * 1.96 / sqrt(20) = 0.88


def test_the_seed_alone_makes_the_interval():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 3))
    assert estimate(scores, iqm) == estimate(scores, iqm)
    assert estimate(scores, iqm, seed=1) != estimate(scores, iqm, seed=2)
    assert probability_of_improvement(scores, scores + 0.1, seed=1) != probability_of_improvement(
        scores, scores + 0.1, seed=2
    )


def test_intervals_hold_what_they_promise():
    # 3 environments of 20 runs around 1; of 300 intervals of 90%, 270 should hold the true IQM,
    # and the bootstrap is known to fall a few percent short.
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        e = estimate(rng.normal(1.0, 0.5, (20, 3)), iqm, level=0.9, resamples=300)
        assert e.low is not None and e.high is not None
        held += e.low <= 1.0 <= e.high
    assert 0.84 <= held / 300 <= 0.95


def test_the_interval_of_an_improvement_holds_what_it_promises():
    # P(N(0.5, 1) > N(0, 1)) = Phi(0.5 / sqrt 2).
    rng = np.random.default_rng(11)
    truth = 0.5 * (1 + math.erf(0.5 / 2))
    held = 0
    for _ in range(200):
        x, y = rng.normal(0.5, 1, (20, 2)), rng.normal(0, 1, (20, 2))
        p = probability_of_improvement(x, y, level=0.9, resamples=200)
        assert p.low is not None and p.high is not None
        held += p.low <= truth <= p.high
    assert 0.84 <= held / 200 <= 0.95


def test_single_runs_have_no_interval():
    assert estimate({"a": [2.0], "b": [4.0]}, iqm) == Estimate(3.0)
    assert probability_of_improvement({"a": [2.0]}, {"a": [1.0]}) == Estimate(1.0)


# Bad input


@pytest.mark.parametrize("scores", [[1.0, 0.0], [1.0, -26.6]])
def test_a_geometric_mean_of_what_is_not_positive(scores):
    with pytest.raises(UserError, match="above 0, but the lowest is"):
        geometric_iqm(np.array(scores))
    with pytest.raises(UserError, match="above 0"):
        estimate({"a": scores}, geometric_iqm)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "no scores"),
        ({"Hopper": []}, "Hopper has none"),
        ({"Hopper": [1.0, math.nan]}, "Hopper has one that is not a finite number"),
        (np.array([[1.0, math.inf]]), "environment 1 has one that is not a finite"),
        (np.zeros((0, 2)), "environment 0 has none"),
    ],
)
def test_scores_that_are_none(scores, message):
    with pytest.raises(UserError, match=message):
        estimate(scores, iqm)


def test_shapes_and_levels_that_are_none():
    with pytest.raises(ValueError, match=r"\(runs, environments\)"):
        estimate(np.zeros(3), iqm)
    with pytest.raises(ValueError, match=r"\(runs,\)"):
        estimate({"a": np.zeros((2, 2))}, iqm)
    with pytest.raises(ValueError, match="level"):
        estimate({"a": [1.0, 2.0]}, iqm, level=95)


def test_other_environments_cannot_be_compared():
    with pytest.raises(UserError, match="X has scores in a, but Y in b"):
        probability_of_improvement({"a": [1.0]}, {"b": [1.0]})


# Against scipy, of the extra `dev`


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 11, 55])
def test_iqms_are_scipys(n):
    stats = pytest.importorskip("scipy.stats")
    scores = np.random.default_rng(n).lognormal(size=(3, n))
    np.testing.assert_allclose(iqm(scores), stats.trim_mean(scores, 0.25, axis=1))
    expected = np.exp(stats.trim_mean(np.log(scores), 0.25, axis=1))
    np.testing.assert_allclose(geometric_iqm(scores), expected)
    if n < 4:  # nothing is trimmed
        np.testing.assert_allclose(geometric_iqm(scores), stats.gmean(scores, axis=1))


def test_improvement_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    x = {name: rng.integers(0, 5, n).astype(float) for name, n in (("a", 6), ("b", 3))}
    y = {name: rng.integers(0, 5, n).astype(float) for name, n in (("a", 4), ("b", 8))}
    u = [stats.mannwhitneyu(x[env], y[env]).statistic / (len(x[env]) * len(y[env])) for env in x]
    assert probability_of_improvement(x, y).value == pytest.approx(np.mean(u))


def test_the_interval_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    scores = np.random.default_rng(9).normal(size=30)
    theirs = stats.bootstrap(
        (scores,),
        lambda sample, axis: iqm(sample),  # the last axis, as scipy wants here
        method="percentile",
        n_resamples=10_000,
        rng=1,
    ).confidence_interval
    ours = estimate({"a": scores}, iqm)
    # The ends of 10,000 resamples vary by about 0.01 from seed to seed.
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (4, 10), (50, 50), (1, 1)])
def test_the_interval_of_a_share_is_scipys(successes, n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(successes, n).proportion_ci(0.95, "wilson")
    assert share_interval(successes / n, n) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [(1.1, 10), (-0.1, 10), (math.nan, 10), (0.5, 0)])
def test_shares_that_are_none(share, n):
    with pytest.raises(ValueError, match="cannot be"):
        share_interval(share, n)
