"""Compute statistics of scores over runs and environments.

The methods are those of Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice",
arXiv 2108.13264.

`Scores` are an array `(runs, environments)`, or the runs by name of the environment, whose numbers
may differ. A `Statistic` is a function of pooled scores; `estimate` applies it to `Scores` and adds
the interval. Resampling is stratified, i.e. within each environment, since environments are not
sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from Common.errors import UserError

Scores = np.ndarray | Mapping[str, Sequence[float] | np.ndarray]
Statistic = Callable[[np.ndarray], np.ndarray]  # (..., scores) -> (...)

_LEVEL = 0.95
_RESAMPLES = 10_000
_TRIMMED = 0.25  # share of scores that the interquartile mean drops at each end


@dataclass(frozen=True)
class Estimate:
    """A number and its interval, which is None if each environment has a single run."""

    value: float
    low: float | None = None
    high: float | None = None


def iqm(scores: np.ndarray) -> np.ndarray:
    """Return the interquartile mean over the last axis: the mean of the middle half.

    Of n scores, the `floor(n / 4)` lowest and highest are dropped, as by
    `scipy.stats.trim_mean(scores, 0.25)` (arXiv 2108.13264, section 4.3).
    """
    ordered = np.sort(np.asarray(scores, np.float64), axis=-1)
    n = ordered.shape[-1]
    cut = int(_TRIMMED * n)
    return ordered[..., cut : n - cut].mean(axis=-1)


def geometric_iqm(scores: np.ndarray) -> np.ndarray:
    """Return exp of the interquartile mean of the logarithms over the last axis.

    For ratios: ratios of 1/2 and 2 cancel. This is the mean of the PPD paper's tables (Spigler
    2025, arXiv 2407.15134).

    Raises:
        UserError: a score is not above 0.
    """
    scores = np.asarray(scores, np.float64)
    if scores.min() <= 0:
        raise UserError(
            f"A geometric mean needs scores above 0, but the lowest is {scores.min():g}. "
            "Use the interquartile mean, or skill instead of a ratio."
        )
    return np.exp(iqm(np.log(scores)))


def estimate(
    scores: Scores,
    statistic: Statistic = iqm,
    *,
    level: float = _LEVEL,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of all scores, and its stratified percentile bootstrap interval.

    The scores of all environments are pooled, so that environments with more runs have more weight
    (arXiv 2108.13264, section 4.1).

    Args:
        level: level of the interval.
        seed: seed of the resampling.

    Raises:
        UserError: there are no scores, an environment has none, one is not finite, or the statistic
            raises it.
        ValueError: an array is not `(runs, environments)`, or the level is outside (0, 1).
    """
    strata = list(_by_environment(scores).values())
    value = float(statistic(np.concatenate(strata)))
    if max(map(len, strata)) == 1:
        return Estimate(value)
    rng = np.random.default_rng(seed)
    drawn = [runs[rng.integers(len(runs), size=(resamples, len(runs)))] for runs in strata]
    low, high = percentiles(statistic(np.concatenate(drawn, axis=1)), level)
    return Estimate(value, float(low), float(high))


def probability_of_improvement(
    x: Scores,
    y: Scores,
    *,
    level: float = _LEVEL,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the probability that a run of X scores higher than one of Y in the same environment.

    Per environment, it is the Mann-Whitney U of X divided by the number of pairs, where ties count
    half. The result is the unweighted mean over environments (arXiv 2108.13264, section 4.3).

    Args:
        x, y: scores in the same environments; arrays have the same columns in the same order.

    Raises:
        UserError: as `estimate`, or the environments differ.
    """
    x_runs, y_runs = _by_environment(x), _by_environment(y)
    if x_runs.keys() != y_runs.keys():
        raise UserError(
            f"X has scores in {', '.join(sorted(x_runs))}, but Y in {', '.join(sorted(y_runs))}. "
            "Compare them in the same environments."
        )
    rng = np.random.default_rng(seed)
    probability, resampled, varies = 0.0, np.zeros(resamples), False
    for name, a in x_runs.items():
        b = y_runs[name]
        wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)  # (x runs, y runs)
        drawn = (_shares(rng, len(a), resamples) @ wins) * _shares(rng, len(b), resamples)
        probability += float(wins.mean()) / len(x_runs)
        resampled += drawn.sum(axis=1) / len(x_runs)
        varies = varies or max(wins.shape) > 1
    if not varies:
        return Estimate(probability)
    low, high = percentiles(resampled, level)
    return Estimate(probability, float(low), float(high))


def difference(
    x: np.ndarray, y: np.ndarray, *, level: float = _LEVEL, resamples: int = _RESAMPLES
) -> Estimate:
    """Return IQM(X) - IQM(Y), each `(runs,)`, with its percentile bootstrap interval over runs.

    Runs are resampled within X and within Y. There is no interval if either has a single run.
    """
    value = float(iqm(x) - iqm(y))
    if min(len(x), len(y)) < 2:
        return Estimate(value)
    rng = np.random.default_rng(0)
    resampled = [iqm(s[rng.integers(len(s), size=(resamples, len(s)))]) for s in (x, y)]
    low, high = percentiles(resampled[0] - resampled[1], level)
    return Estimate(value, float(low), float(high))


def performance_profile(
    scores: Scores,
    thresholds: Sequence[float] | np.ndarray,
    *,
    level: float = _LEVEL,
    resamples: int = _RESAMPLES,
) -> list[Estimate]:
    """Return the share of runs that score above each threshold, with its pointwise interval.

    This is the run-score distribution of arXiv 2108.13264, section 4.2. All thresholds use the same
    resamples.

    Raises:
        UserError: as `estimate`.
    """
    return [
        estimate(
            scores,
            lambda pooled, threshold=threshold: (pooled > threshold).mean(axis=-1),
            level=level,
            resamples=resamples,
        )
        for threshold in thresholds
    ]


def share_interval(share: float, n: int, level: float = _LEVEL) -> tuple[float, float]:
    """Return the Wilson score interval of a share of n trials.

    Unlike a bootstrap interval, it has a width where all trials or none succeed (Wilson 1927; Brown
    et al. 2001, "Interval Estimation for a Binomial Proportion").

    Raises:
        ValueError: the share is outside [0, 1], or there are no trials.
    """
    if not 0 <= share <= 1 or n < 1:
        raise ValueError(f"A share of {n} trials cannot be {share}.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _by_environment(scores: Scores) -> dict[str, np.ndarray]:
    """Return the runs `(runs,)` of each environment; those of an array are numbered."""
    if isinstance(scores, Mapping):
        named = {name: np.asarray(runs, np.float64) for name, runs in scores.items()}
    else:
        matrix = np.asarray(scores, np.float64)
        if matrix.ndim != 2:
            raise ValueError(f"Scores must be (runs, environments), not {matrix.shape}.")
        named = {f"environment {i}": runs for i, runs in enumerate(matrix.T)}
    if not named:
        raise UserError("There are no scores. Give those of at least one environment.")
    for name, runs in named.items():
        if runs.ndim != 1:
            raise ValueError(f"The scores of {name} must be (runs,), not {runs.shape}.")
        if not len(runs) or not np.isfinite(runs).all():
            what = "none" if not len(runs) else "one that is not a finite number"
            raise UserError(f"Each environment needs finite scores, but {name} has {what}.")
    return named


def _shares(rng: np.random.Generator, n: int, resamples: int) -> np.ndarray:
    """Draw the shares of n runs in each resample, `(resamples, n)`."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n


def percentiles(resampled: np.ndarray, level: float = _LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of an interval of resampled statistics, over the first axis."""
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval must be between 0 and 1, not {level}.")
    low, high = np.percentile(resampled, [50 * (1 - level), 50 * (1 + level)], axis=0)
    return low, high
