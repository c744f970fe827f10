"""The sum tree and prioritised replay against hand arithmetic and counted frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from Algorithm.cloning.replay import PrioritisedReplay, ReplayConfig, dynamic_alpha, linear_alpha
from Algorithm.cloning.sum_tree import SumTree
from Common.errors import UserError

LOSSES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 0.25])


def replay(n_old: int = 6, n_new: int = 0, seed: int = 0, **config: Any) -> PrioritisedReplay:
    """With the first of `LOSSES` as priorities."""
    made = PrioritisedReplay(64, ReplayConfig(**config), seed)
    made.add(n_old, new=False)
    if n_new:
        made.add(n_new, new=True)
    size = n_old + n_new
    made.update(np.arange(size), np.resize(LOSSES, size))
    return made


# -- the tree ----------------------------------------------------------------------------


def test_tree_sums_and_finds_by_hand() -> None:
    tree = SumTree(5)
    tree.set(np.array([0, 1, 3, 4]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert tree.total == 10
    assert [tree.sum_before(i) for i in range(6)] == [0, 1, 3, 3, 6, 10]
    # The shares are [0, 1), [1, 3), none, [3, 6), [6, 10).
    mass = np.array([0.0, 0.99, 1.0, 2.99, 3.0, 5.99, 6.0, 9.99])
    assert tree.find(mass).tolist() == [0, 0, 1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("capacity", [1, 2, 3, 8, 1000])
def test_tree_equals_cumulative_sums(capacity: int) -> None:
    rng = np.random.default_rng(capacity)
    tree, weights = SumTree(capacity), np.zeros(capacity)
    for _ in range(5):
        indices = rng.integers(0, capacity, 40)
        values = rng.integers(0, 9, 40).astype(float)
        tree.set(indices, values)
        for index, value in zip(indices, values, strict=True):  # the last of duplicates
            weights[index] = value
    np.testing.assert_array_equal(tree.leaves, weights)
    edges = np.concatenate([[0], np.cumsum(weights)])
    assert [tree.sum_before(i) for i in range(capacity + 1)] == edges.tolist()
    mass = rng.random(200) * tree.total
    np.testing.assert_array_equal(tree.find(mass), np.searchsorted(edges, mass, "right") - 1)


def test_filling_equals_setting_to_the_last_bit() -> None:
    weights = np.random.default_rng(0).random(1000)
    filled, was_set = SumTree(1000), SumTree(1000)
    filled.fill(np.ones(1000))
    filled.fill(weights[:700])
    was_set.set(np.arange(700), weights[:700])
    assert filled.total == was_set.total
    np.testing.assert_array_equal(filled.leaves, was_set.leaves)


def test_tree_never_finds_a_leaf_without_weight() -> None:
    tree = SumTree(100)
    tree.set(np.array([3, 40, 41]), np.array([0.1, 0.2, 0.3]))
    mass = np.array([0.0, 0.1, 0.30000000000000004, np.nextafter(tree.total, 0), tree.total])
    assert set(tree.find(mass).tolist()) <= {3, 40, 41}


def test_tree_needs_a_leaf() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SumTree(0)


# -- probabilities and weights -----------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_frequencies_match_the_probabilities(alpha: float) -> None:
    sampled = replay(alpha=alpha)
    expected = LOSSES**alpha / (LOSSES**alpha).sum()
    np.testing.assert_allclose(sampled.probabilities(), expected, rtol=1e-12)
    counts = np.zeros(6)
    for _ in range(2_000):
        counts += np.bincount(sampled.draw(32).indices, minlength=6)
    n = counts.sum()
    # Within five standard deviations of independent draws; stratified ones vary less.
    deviation = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(counts / n - expected) < 5 * deviation).all()


def test_draws_are_stratified() -> None:
    # With 64 equal strata, a sample of probability P comes P * 64 times, give or take the two
    # strata at its edges.
    sampled = replay(alpha=1.0)
    expected = 64 * LOSSES / LOSSES.sum()
    for _ in range(50):
        counts = np.bincount(sampled.draw(64).indices, minlength=6)
        assert (np.abs(counts - expected) < 2).all()


def test_weights_by_hand() -> None:
    sampled = replay(n_old=3, alpha=1.0, beta_start=0.5)
    # p = 0.5, 1, 2: N P = 3 p / 3.5, to the power -1/2, over the largest, that of p = 0.5:
    # sqrt(0.5 / p).
    draw = sampled.draw(64)
    assert draw.weights is not None
    assert set(draw.indices.tolist()) == {0, 1, 2}
    np.testing.assert_allclose(draw.weights, np.sqrt(0.5 / LOSSES[draw.indices]), rtol=1e-6)


def test_weights_at_beta_1_remove_the_bias() -> None:
    sampled = replay(alpha=0.8)
    sampled.anneal(1.0)
    assert sampled.beta == 1
    values = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0])
    weighted, total, plain = 0.0, 0.0, []
    for _ in range(3_000):
        draw = sampled.draw(32)
        assert draw.weights is not None
        # Over the batch's largest weight: scale by what is known of it, 1 / (N P) of the rarest.
        scale = (1 / (6 * sampled.probabilities()[draw.indices])).max()
        weighted += (draw.weights * scale * values[draw.indices]).sum()
        total += 32
        plain.append(values[draw.indices].mean())
    assert weighted / total == pytest.approx(values.mean(), abs=0.05)
    assert abs(np.mean(plain) - values.mean()) > 1  # without weights it would be far off


def test_beta_goes_to_1() -> None:
    sampled = replay(alpha=0.6)
    assert sampled.beta == 0.4
    sampled.anneal(0.5)
    assert sampled.beta == pytest.approx(0.7)
    sampled.anneal(1.0)
    assert sampled.beta == 1.0


def test_priorities_have_floor_and_cap() -> None:
    sampled = replay(n_old=3, alpha=1.0, priority_floor=0.01, priority_cap=4.0)
    sampled.update(np.arange(3), np.array([0.0, 1.0, 100.0]))
    np.testing.assert_allclose(sampled.probabilities(), np.array([0.01, 1.0, 4.0]) / 5.01)


def test_new_samples_enter_at_the_largest_priority() -> None:
    sampled = PrioritisedReplay(10, ReplayConfig(alpha=0.5, priority_cap=9.0), 0)
    sampled.add(2, new=False)  # nothing is known: at the cap
    sampled.update(np.array([0, 1]), np.array([1.0, 4.0]))
    sampled.add(2, new=True)
    # Raw priorities 1, 4, 4, 4; square roots 1, 2, 2, 2.
    np.testing.assert_allclose(sampled.probabilities(), np.array([1, 2, 2, 2]) / 7)
    assert (sampled.n_old, sampled.n_new) == (2, 2)


def test_the_first_losses_tell_the_scale() -> None:
    """Small losses, as MSE's: what was not drawn yet must not stand above them at the cap."""
    sampled = PrioritisedReplay(10, ReplayConfig(alpha=1.0, priority_cap=10.0), 0)
    sampled.add(4, new=False)
    sampled.update(np.array([0, 1]), np.array([0.1, 0.3]))
    np.testing.assert_allclose(sampled.probabilities(), np.array([1, 3, 3, 3]) / 10)
    sampled.update(np.array([2]), np.array([0.9]))  # later ones change their own alone
    np.testing.assert_allclose(sampled.probabilities(), np.array([1, 3, 9, 3]) / 16)
    resumed = PrioritisedReplay(10, ReplayConfig(alpha=1.0, priority_cap=10.0), 0)
    resumed.restore(sampled.capture())
    resumed.update(np.array([3]), np.array([0.3]))
    np.testing.assert_allclose(resumed.probabilities(), np.array([1, 3, 9, 3]) / 16)


def test_of_duplicates_the_last_loss_counts() -> None:
    sampled = replay(n_old=2, alpha=1.0)
    sampled.update(np.array([0, 0, 1, 0]), np.array([9.0, 5.0, 1.0, 3.0]))
    np.testing.assert_allclose(sampled.probabilities(), [0.75, 0.25])


# -- uniform -----------------------------------------------------------------------------


def test_alpha_0_is_uniform_in_shuffled_epochs() -> None:
    sampled = replay(n_old=50, alpha=0.0)
    draws = [sampled.draw(8) for _ in range(25)]  # 200 indices: four epochs of 50
    indices = np.concatenate([draw.indices for draw in draws]).reshape(4, 50)
    for epoch in indices:
        assert sorted(epoch.tolist()) == list(range(50))
    assert (indices[0] != indices[1]).any()
    assert all(draw.weights is None for draw in draws)
    assert not hasattr(sampled, "_tree")  # nothing is kept, nothing is updated


def test_half_old_half_new() -> None:
    for alpha in (0.0, 0.6):
        sampled = replay(n_old=20, n_new=5, alpha=alpha)
        draw = sampled.draw(12, new_share=0.5)
        assert (draw.indices < 20).sum() == 6
        assert ((draw.indices >= 20) & (draw.indices < 25)).sum() == 6
        assert (sampled.draw(12, new_share=0.0).indices < 20).all()
        assert (sampled.draw(12, new_share=1.0).indices >= 20).all()


def test_a_batch_too_small_for_a_share_is_of_all_samples() -> None:
    for alpha in (0.0, 0.6):
        sampled = replay(n_old=5, n_new=5, alpha=alpha)
        drawn = {int(sampled.draw(1, new_share=0.5).indices[0]) for _ in range(200)}
        assert drawn == set(range(10))


def test_weights_do_not_undo_the_composition() -> None:
    # Equal priorities within each half: all weights are 1, however the halves differ in size.
    sampled = replay(n_old=20, n_new=4, alpha=0.6)
    sampled.update(np.arange(24), np.where(np.arange(24) < 20, 1.0, 5.0))
    draw = sampled.draw(16, new_share=0.5)
    assert draw.weights is not None
    np.testing.assert_allclose(draw.weights, 1.0, rtol=1e-6)


def test_composition_keeps_the_probabilities_within_each_half() -> None:
    sampled = replay(n_old=3, n_new=3, alpha=1.0)  # old 0.5, 1, 2; new 4, 8, 0.25
    counts = np.zeros(6)
    for _ in range(2_000):
        counts += np.bincount(sampled.draw(16, new_share=0.25).indices, minlength=6)
    expected = np.concatenate([0.75 * LOSSES[:3] / 3.5, 0.25 * LOSSES[3:] / 12.25])
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.01)


def test_without_new_samples_a_share_means_nothing() -> None:
    assert len(replay(alpha=0.0).draw(4, new_share=0.5).indices) == 4
    only_new = PrioritisedReplay(8, ReplayConfig(), 0)
    only_new.add(8, new=True)
    assert sorted(only_new.draw(8, new_share=0.5).indices.tolist()) == list(range(8))


# -- alpha's modes -----------------------------------------------------------------------


def test_linear_alpha_by_hand() -> None:
    assert linear_alpha(0.6, 0.0) == pytest.approx(0.2)
    assert linear_alpha(0.6, 0.5) == pytest.approx(0.4)
    assert linear_alpha(0.6, 1.0) == pytest.approx(0.6)


def test_dynamic_alpha_by_hand() -> None:
    # (9 / 1)^0.5 = 3; (1.5)^0.6 is below 3; new samples that are no worse need no bound.
    assert dynamic_alpha(0.6, 3.0, 1.0, 9.0) == pytest.approx(0.5)
    assert dynamic_alpha(0.6, 3.0, 1.0, 1.5) == 0.6
    assert dynamic_alpha(0.6, 3.0, 1.0, 0.5) == 0.6
    assert dynamic_alpha(0.6, 3.0, 1.0, 1.0) == 0.6


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", 0.6),
        ("linear", 0.4),
        # Old priorities 0.5, 1, 1.5; new ones 3, 9.
        ("dynamic_mean", math.log(3) / math.log(6)),
        ("dynamic_max", math.log(3) / math.log(9)),
    ],
)
def test_modes_by_hand(mode: str, expected: float) -> None:
    sampled = replay(n_old=3, n_new=2, alpha=0.6, mode_alpha=mode)
    priorities = np.array([0.5, 1.0, 1.5, 3.0, 9.0])
    sampled.update(np.arange(5), priorities)
    sampled.anneal(0.5)
    assert sampled.alpha == pytest.approx(min(expected, 0.6))
    p = priorities**sampled.alpha
    np.testing.assert_allclose(sampled.probabilities(), p / p.sum())


def test_dynamic_max_bounds_oversampling() -> None:
    sampled = replay(n_old=2, n_new=2, alpha=5.0, mode_alpha="dynamic_max")
    sampled.update(np.arange(4), np.array([1.0, 1.0, 4.0, 2.0]))
    sampled.anneal(0.0)
    p = sampled.probabilities()
    assert p[2:].max() / p[0] == pytest.approx(3.0)


def test_dynamic_modes_before_there_are_new_samples() -> None:
    sampled = replay(alpha=0.6, mode_alpha="dynamic_mean")
    sampled.anneal(0.3)
    assert sampled.alpha == 0.6


# -- statistics, states, bad input -------------------------------------------------------


def test_statistics_by_hand() -> None:
    sampled = replay(n_old=2, n_new=1, alpha=1.0)  # priorities 0.5, 1 and 2
    figures = sampled.statistics()
    assert figures["size"] == 3
    assert figures["new"] == 1
    assert figures["priority_max"] == 2
    assert figures["priority_old"] == 0.75
    assert figures["oversampling"] == pytest.approx(2 / 0.75)
    # P = 1/7, 2/7, 4/7: 1 / sum P^2 = 49 / 21 of 3 samples.
    assert figures["effective_share"] == pytest.approx(49 / 21 / 3)
    assert replay(alpha=0.0).statistics() == {"size": 6, "new": 0, "alpha": 0}


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_going_on_from_a_state_is_exact(alpha: float) -> None:
    def step(sampled: PrioritisedReplay, number: int) -> list:
        sampled.anneal(number / 20)
        draw = sampled.draw(7, new_share=0.5)
        sampled.update(draw.indices, LOSSES[draw.indices % 6] / (1 + number))
        return [draw.indices.tolist(), None if draw.weights is None else draw.weights.tolist()]

    def fresh() -> PrioritisedReplay:
        return replay(n_old=20, n_new=9, alpha=alpha, mode_alpha="dynamic_mean")

    whole = fresh()
    expected = [step(whole, number) for number in range(20)]
    first = fresh()
    for number in range(10):
        step(first, number)
    second = PrioritisedReplay(64, first.config, seed=99)
    second.restore(first.capture())
    assert [step(second, number) for number in range(10, 20)] == expected[10:]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"alpha": -0.1}, "`alpha` -0.1"),
        ({"alpha": math.nan}, "`alpha` nan"),
        ({"alpha": math.inf}, "`alpha` inf"),
        ({"mode_alpha": "steep"}, "'steep' is not one of constant, linear"),
        ({"beta_start": 1.1}, "`beta_start` 1.1"),
        ({"priority_floor": 0.0}, "`priority_floor` 0.0"),
        ({"priority_floor": 20.0}, "below `priority_cap`"),
        ({"oversampling": 1.0}, "`oversampling` 1.0"),
        ({"anneal_every": 0}, "`anneal_every` 0"),
    ],
)
def test_settings_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReplayConfig(**config)


def test_mistakes_of_the_caller() -> None:
    sampled = replay(alpha=0.6)
    with pytest.raises(ValueError, match="exceed 64"):
        sampled.add(59, new=True)
    with pytest.raises(ValueError, match="finite"):
        sampled.update(np.array([0]), np.array([np.nan]))
    with pytest.raises(ValueError, match="replay is empty"):
        PrioritisedReplay(4, ReplayConfig(), 0).draw(2)
