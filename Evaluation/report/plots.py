"""Prepare the plots of experiments with one teacher as JSON for the page's script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np

from Common.errors import UserError
from Evaluation.metrics import CURVES, METRICS, Metric, number
from Evaluation.plots.curves import Curve, XAxis, mean_curve, read_curve, teacher_levels
from Evaluation.report.rows import COLUMNS, MEASURES, ReportRow
from Evaluation.runs import Run
from Evaluation.stats.estimates import Estimate, performance_profile, probability_of_improvement

_POINTS = (60, 500)  # bounds of the points per run
_MAX_POINTS = 20_000  # of all runs, for each figure and axis
_DIGITS = 5
_RESAMPLES = 2000
_THRESHOLDS = 61  # of a performance profile
_MAX_RIVALS = 10  # best experiments to compare all others with
_ENDS = ("mid", "low", "high")
_Object = dict[str, Any]


def plots(rows: Sequence[ReportRow], problems: list[str]) -> _Object:
    """Return curves, figures, performance profiles and probabilities of improvement.

    Profiles and probabilities are of experiments of at least two runs, by the first of skill, ratio
    and return that all of these have.

    Args:
        rows: experiments with the same teacher.
        problems: list to which a line is added per run whose metrics cannot be read.
    """
    several = [row for row in rows if len(row.compared) > 1]
    measure = next((m for m in MEASURES if all(len(r.scores(m)) > 1 for r in several)), None)
    return {
        "rows": [_row(row) for row in rows],
        "scores": {metric.key: _title(metric, rows) for metric in columns(rows)},
        "measure": measure and measure.label,
        "profile": _profiles(several, measure) if several and measure else {},
        "improvement": _improvements(several, measure) if len(several) > 1 and measure else {},
        "curves": _curves(rows, problems),
    }


def columns(rows: Sequence[ReportRow]) -> list[Metric]:
    """Return the figures that at least one row has."""
    return [c for c in COLUMNS if any(c.key in row.values for row in rows)]


# -- learning curves -------------------------------------------------------------------------------


def _curves(rows: Sequence[ReportRow], problems: list[str]) -> _Object:
    """Return metrics and axes, the axis to begin with, and the curves of each row for each."""
    readable = {row.id: _readable(row, problems) for row in rows}
    runs = [run for of_row in readable.values() for run in of_row]
    n_points = int(np.clip(_MAX_POINTS // max(1, len(runs)), *_POINTS))
    lines: dict[str, dict[str, _Object]] = {}
    for key, metric in CURVES.items():
        for x in get_args(XAxis):
            found = {id_: _line(of_row, metric, x, n_points) for id_, of_row in readable.items()}
            if drawn := {id_: line for id_, line in found.items() if line is not None}:
                lines.setdefault(key, {})[x] = drawn
    metrics = {
        key: {
            "title": METRICS[key].label,
            "log": METRICS[key].log,
            "lowest": METRICS[key].lowest if math.isfinite(METRICS[key].lowest) else None,
            "teacher": _rounded(teacher_levels(runs, METRICS[key])),
        }
        for key in lines
    }
    axes = [x for x in get_args(XAxis) if any(x in by_axis for by_axis in lines.values())]
    first = next(iter(lines.values()), {})
    return {
        "metrics": metrics,
        "axes": {x: METRICS[x].label for x in axes},
        "axis": max(first, key=lambda x: _n_drawn(first[x]), default=None),
        "lines": lines,
    }


def _n_drawn(lines: _Object) -> int:
    """Return how many rows have a run of several points; cloning has only one in env steps."""
    return sum(any(len(run["x"]) > 1 for run in line["runs"]) for line in lines.values())


def _readable(row: ReportRow, problems: list[str]) -> list[Run]:
    runs = []
    for run in (entry.run for entry in row.entries if not entry.shipped):
        try:
            if run.metrics:
                runs.append(run)
            else:
                problems.append(f"No curve: {run.folder} has not logged any metrics yet.")
        except UserError as error:
            problems.append(f"No curve: {error}")
    return runs


def _line(runs: Sequence[Run], metric: Metric, x: XAxis, n_points: int) -> _Object | None:
    curves = [curve for run in runs if (curve := read_curve(run, metric, x)) is not None]
    if not curves:
        return None
    mean = mean_curve(curves)
    return {
        "runs": [_points(curve, n_points) for curve in curves],
        "mean": mean and {end: _rounded(getattr(mean, end)) for end in ("x", *_ENDS)},
    }


def _points(curve: Curve, n_points: int) -> _Object:
    chosen = np.unique(np.linspace(0, len(curve.x) - 1, n_points).round().astype(int))
    return {"x": _rounded(curve.x[chosen]), "y": _rounded(curve.y[chosen]), "cut": curve.is_cut}


# -- comparisons -----------------------------------------------------------------------------------


def _row(row: ReportRow) -> _Object:
    return {
        "id": row.id,
        "task": row.task,
        "teacher": row.group,
        "method": row.name.method,
        "size": row.name.size,
        "name": str(row.name),
        "finished": bool(row.finished),
        "runs": len(row.compared or row.finished),
        "over": row.over,
        "look": row.look,
        "values": {key: _ends(value) for key, value in row.values.items()},
    }


def _title(metric: Metric, rows: Sequence[ReportRow]) -> _Object:
    level = metric.teacher
    if not isinstance(level, float):
        figures = (entry.run.figures for row in rows for entry in row.compared)
        levels = (number(of_run, f"teacher_{metric.key}") for of_run in figures)
        level = next((known for known in levels if known is not None), None)
    return {"title": metric.heading, "label": metric.label, "teacher": level}


def _profiles(rows: Sequence[ReportRow], measure: Metric) -> _Object:
    """Return the thresholds, and the share of each row's runs above them with its interval."""
    scores = {row.id: row.scores(measure) for row in rows}  # (runs,) each
    pooled = np.concatenate(list(scores.values()))
    margin = 0.05 * (np.ptp(pooled) or 1.0)
    thresholds = np.linspace(pooled.min() - margin, pooled.max() + margin, _THRESHOLDS)
    lines = {}
    for id_, of_row in scores.items():
        shares = performance_profile({"": of_row}, thresholds, resamples=_RESAMPLES)
        lines[id_] = dict(zip(_ENDS, zip(*map(_ends, shares), strict=True), strict=True))
    return {"x": _rounded(thresholds), "lines": lines}


def _improvements(rows: Sequence[ReportRow], measure: Metric) -> dict[str, _Object]:
    """Return by row, and by each other row, the probability that a run of the first is better."""

    def better(row: ReportRow, other: ReportRow) -> list[float | None]:
        scores = {"": row.scores(measure)}, {"": other.scores(measure)}
        return _ends(probability_of_improvement(*scores, resamples=_RESAMPLES))

    return {
        row.id: {other.id: better(row, other) for other in rows if other is not row}
        for row in rows[:_MAX_RIVALS]
    }


def _ends(value: Estimate) -> list[float | None]:
    ends = (value.value, value.low, value.high)
    return [None if end is None else _rounded([end])[0] for end in ends]


def _rounded(values: Iterable[float]) -> list[float]:
    """Return numbers with as many digits as a picture shows."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]
