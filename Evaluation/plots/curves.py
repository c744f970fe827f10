"""Learning curves: the points of each run, and the mean over runs that differ by seeds alone."""

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
from Evaluation.stats.estimates import iqm

XAxis = Literal["env_steps", "gradient_steps", "samples", "seconds"]  # keys of METRICS
_CLONING_BATCH = 128  # samples; the default of --batch_size in cloning
_ENV_STEPS, _ROUND = "time/env_steps", "dagger/round"
_MOST_POINTS = 100  # of a mean curve
_RESAMPLES = 2000


@dataclass(frozen=True)
class Curve:
    """A metric of one run; x rises strictly. Both `(points,)`, and neither is ever empty."""

    run: Run
    x: np.ndarray
    y: np.ndarray

    @property
    def is_cut(self) -> bool:
        """The run was cut short, or is under way."""
        return self.run.figures is None


@dataclass(frozen=True)
class MeanCurve:
    """Over runs: the interquartile mean and its bootstrap interval; each `(points,)`."""

    x: np.ndarray
    mid: np.ndarray
    low: np.ndarray
    high: np.ndarray


def metric_of(name: str) -> Metric:
    """A metric by its short name, or by its key in `metrics.jsonl`."""
    known = METRICS.get(name)
    return known if known is not None and known.logged else Metric(name, name, logged=name)


def read_curve(run: Run, metric: Metric, x: XAxis) -> Curve | None:
    """The curve of a run; None where it logged no such metric, or not what the axis shows.

    A point that logs no `x` itself lies between the points that do, by their `step`. Of several
    points at one place the last counts: all that cloning learns, it learns at one number of
    environment steps, those of its dataset. DAgger's are those that it has learned from.

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
        while xs and xs[-1] >= place:  # the run went back to a checkpoint, or stands still
            del xs[-1], ys[-1]
        xs.append(place)
        ys.append(float(value))
    return Curve(run, np.array(xs), np.array(ys)) if xs else None


def mean_curve(curves: Sequence[Curve]) -> MeanCurve | None:
    """The mean of the finished runs, from where all of them have begun; None below two runs.

    Between its points a run counts as a straight line, and after its end it keeps its last value:
    the student stays what it is. The interval is `Evaluation.stats`'s bootstrap over runs, at each
    place alone.
    """
    whole = [curve for curve in curves if not curve.is_cut]
    if len(whole) < 2:
        return None
    first = max(curve.x[0] for curve in whole)
    grid = np.unique(np.concatenate([curve.x for curve in whole]))
    grid = grid[grid >= first]
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, _MOST_POINTS).round().astype(int))]
    values = np.stack([np.interp(grid, curve.x, curve.y) for curve in whole], axis=1)
    low, high = _interval(values)
    return MeanCurve(grid, iqm(values), low, high)


def teacher_levels(runs: Sequence[Run], metric: Metric) -> list[float]:
    """Where the teacher's line is, for each of the runs' teachers; none if none is known."""
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


def _interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap of the interquartile mean; `(points, runs)` -> two `(points,)`."""
    n_runs = values.shape[1]
    drawn = np.random.default_rng(0).integers(n_runs, size=(_RESAMPLES, n_runs))
    resampled = iqm(values[:, drawn])  # (points, resamples)
    low, high = np.percentile(resampled, [50 * (1 - level), 50 * (1 + level)], axis=1)
    return low, high


def _places(run: Run, x: XAxis) -> list[float] | None:
    """Where each point of the run lies on the axis; None where the run does not say."""
    if x == "env_steps" and is_cloning(run.method):
        return _learned_from(run)
    if x != "samples":
        return _clock(run.metrics, f"time/{x}")
    if is_cloning(run.method):
        steps = _clock(run.metrics, "time/gradient_steps")
        each = run.config["training"].get("batch_size") or _CLONING_BATCH
    else:
        steps = _clock(run.metrics, _ENV_STEPS)
        each = run.config["training"].get("num_epochs", 1) if makes_epochs(run.method) else 1
    return None if steps is None else [step * each for step in steps]


def _learned_from(run: Run) -> list[float] | None:
    """Env steps of the data that a cloned student has learned from, at each point.

    What a round of DAgger has collected counts from the round's first gradient step on: version 0.1
    logged the evaluation of the student before it after the collection, without its env steps.
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
    """Of a round of DAgger, which is whole steps of all environments."""
    asked, n_envs = run.config["cloning"]["round_env_steps"], run.config["training"]["num_envs"]
    return asked // n_envs * n_envs


def _clock(points: Sequence[dict[str, Any]], key: str) -> list[float] | None:
    """The value of a clock at each point, interpolated by `step` where it was not logged."""
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
