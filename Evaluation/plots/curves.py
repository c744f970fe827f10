"""Compute learning curves: the points of each run, and the mean over runs with other seeds."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from Algorithm.method_registry import is_cloning, makes_epochs
from Evaluation.metrics import METRICS, Metric
from Evaluation.runs import Run
from Evaluation.stats.estimates import iqm, percentiles

XAxis = Literal["env_steps", "gradient_steps", "samples", "seconds"]  # keys of METRICS
_CLONING_BATCH = 128  # samples, in runs of cloning that do not name their batch size
_ENV_STEPS, _ROUND = "time/env_steps", "dagger/round"
_MAX_POINTS = 100  # of a mean curve
_RESAMPLES = 2000


@dataclass(frozen=True)
class Curve:
    """A metric of one run. `x`, strictly increasing, and `y` are `(points,)` and not empty."""

    run: Run
    x: np.ndarray
    y: np.ndarray

    @property
    def is_cut(self) -> bool:
        """Whether the run was interrupted or is in progress."""
        return self.run.figures is None


@dataclass(frozen=True)
class MeanCurve:
    """The interquartile mean over runs and its bootstrap interval; each `(points,)`."""

    x: np.ndarray
    mid: np.ndarray
    low: np.ndarray
    high: np.ndarray


def metric_of(name: str) -> Metric:
    """Return a metric by its short name, or by its key in `metrics.jsonl`."""
    known = METRICS.get(name)
    return known if known is not None and known.logged else Metric(name, name, logged=name)


def read_curve(run: Run, metric: Metric, x: XAxis) -> Curve | None:
    """Return the curve of a run; None if it logged no such metric, or no values for the axis.

    Points without `x` are interpolated by `step` between points with it. Of several points with the
    same `x`, the last counts: with cloning, all points have the env steps of the dataset. Env steps
    of DAgger are those of the aggregated data.

    Raises:
        UserError: the run's metrics are missing or damaged.
    """
    points = run.metrics
    keys = sorted({k for p in points for k in p if fnmatch.fnmatchcase(k, metric.logged)})
    places = _places(run, x)
    if not keys or places is None:
        return None
    xs: list[float] = []
    ys: list[float] = []
    for point, place in zip(points, places, strict=True):
        value = point.get(keys[0])
        if not isinstance(value, int | float) or not math.isfinite(value):
            continue
        while xs and xs[-1] >= place:  # resumed from a checkpoint, or the same x
            del xs[-1], ys[-1]
        xs.append(place)
        ys.append(float(value))
    return Curve(run, np.array(xs), np.array(ys)) if xs else None


def mean_curve(curves: Sequence[Curve]) -> MeanCurve | None:
    """Return the mean of finished runs, from the latest of their first points on.

    Runs are interpolated linearly between points and keep their last value after their end. The
    interval is the bootstrap over runs of `Evaluation.stats`, pointwise.

    Returns:
        None for fewer than two runs.
    """
    whole = [curve for curve in curves if not curve.is_cut]
    if len(whole) < 2:
        return None
    first = max(curve.x[0] for curve in whole)
    grid = np.unique(np.concatenate([curve.x for curve in whole]))
    grid = grid[grid >= first]
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, _MAX_POINTS).round().astype(int))]
    values = np.stack([np.interp(grid, curve.x, curve.y) for curve in whole], axis=1)
    low, high = _interval(values)
    return MeanCurve(grid, iqm(values), low, high)


def teacher_levels(runs: Sequence[Run], metric: Metric) -> list[float]:
    """Return the level of each of the runs' teachers; empty if none is known."""
    if metric.teacher is None:
        return []
    if not isinstance(metric.teacher, str):
        return [metric.teacher] if any(run.teacher_sha256 for run in runs) else []
    levels = {
        run.teacher_sha256: level
        for run in runs
        if run.teacher_sha256 and (level := run.last(metric.teacher)) is not None
    }
    return sorted(set(levels.values()))


def _interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval of the interquartile mean: `(points, runs)` -> `(points,)`."""
    n_runs = values.shape[1]
    drawn = np.random.default_rng(0).integers(n_runs, size=(_RESAMPLES, n_runs))
    return percentiles(iqm(values[:, drawn]).T)  # (points, resamples) -> (resamples, points)


def _places(run: Run, x: XAxis) -> list[float] | None:
    """Return the position of each point of the run on the axis; None if unknown."""
    if x == "env_steps" and is_cloning(run.method):
        return _learned_from(run)
    if x != "samples":
        return _counter(run.metrics, f"time/{x}")
    if is_cloning(run.method):
        steps = _counter(run.metrics, "time/gradient_steps")
        each = run.config["training"].get("batch_size") or _CLONING_BATCH
    else:
        steps = _counter(run.metrics, _ENV_STEPS)
        each = run.config["training"].get("num_epochs", 1) if makes_epochs(run.method) else 1
    return None if steps is None else [step * each for step in steps]


def _learned_from(run: Run) -> list[float] | None:
    """Return the env steps of the data of a cloned student at each point.

    Steps collected in a round of DAgger count from the round's first gradient step on: version 0.1
    logged the evaluation before that step after the collection, without env steps.
    """
    points = run.metrics
    known = [point for point in points if point.get(_ENV_STEPS) is not None]
    if not known:
        return None
    now = float(known[0][_ENV_STEPS])
    if _ROUND in known[0]:
        now -= _round_env_steps(run)
    places, collected = [], None
    for point in points:
        if _ROUND in point:
            collected = (point["step"], float(point[_ENV_STEPS]))
        elif point.get(_ENV_STEPS) is not None:
            now = float(point[_ENV_STEPS])
        elif collected is not None and point["step"] > collected[0]:
            now = collected[1]
        places.append(now)
    return places


def _round_env_steps(run: Run) -> int:
    """Return the env steps per round of DAgger, rounded down to steps of all environments."""
    asked, n_envs = run.config["cloning"]["round_env_steps"], run.config["training"]["num_envs"]
    return asked // n_envs * n_envs


def _counter(points: Sequence[dict[str, Any]], key: str) -> list[float] | None:
    """Return the value of a counter at each point, interpolated by `step` if not logged."""
    known = [(i, p["step"], float(p[key])) for i, p in enumerate(points) if p.get(key) is not None]
    if not known:
        return None
    before = (0, 0.0)
    values, rest = [], iter([*known, None])
    after = next(rest)
    for i, point in enumerate(points):
        if after is not None and after[0] == i:
            before, after = after[1:], next(rest)
        step, value = before
        if after is not None and point["step"] > step:
            share = min((point["step"] - step) / max(after[1] - step, 1), 1.0)
            value += share * (after[2] - value)
        values.append(value)
    return values
