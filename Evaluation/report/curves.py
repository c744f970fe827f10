"""Prepare the curves of a report as JSON for the page's script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from Common.errors import UserError
from Evaluation.metrics import CURVES, METRICS, Metric
from Evaluation.plots.curves import (
    Curve,
    XAxis,
    mean_curve,
    read_curve,
    teacher_levels,
)
from Evaluation.report.rows import ReportRow
from Evaluation.runs import Run

_POINTS = (60, 500)  # bounds of the points per run
_MAX_POINTS = 20_000  # of all runs, for each figure and axis
_DIGITS = 5


def task_curves(rows: Sequence[ReportRow], problems: list[str]) -> dict[str, Any]:
    """Return a task's metrics and axes, and the curves of each row for each of them.

    Adds a line to `problems` per run whose metrics cannot be read.
    """
    readable = [_readable(row, problems) for row in rows]
    runs = [run for of_row in readable for run in of_row]
    n_points = int(np.clip(_MAX_POINTS // max(1, len(runs)), *_POINTS))
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for key, metric in CURVES.items():
        for x in get_args(XAxis):
            drawn = {
                row.id: line
                for row, of_row in zip(rows, readable, strict=True)
                if (line := _line(of_row, metric, x, n_points)) is not None
            }
            if drawn:
                lines.setdefault(key, {})[x] = drawn
    return {
        "metrics": {
            key: {
                "title": METRICS[key].label,
                "log": METRICS[key].log,
                "lowest": _finite(METRICS[key].lowest),
                "teacher": [rounded(v) for v in teacher_levels(runs, METRICS[key])],
            }
            for key in lines
        },
        "axes": {
            x: METRICS[x].label
            for x in get_args(XAxis)
            if any(x in by_axis for by_axis in lines.values())
        },
        "lines": lines,
    }


def _readable(row: ReportRow, problems: list[str]) -> list[Run]:
    runs = []
    for entry in row.entries:
        if entry.shipped:
            continue
        try:
            if entry.run.metrics:
                runs.append(entry.run)
            else:
                problems.append(f"No curve: {entry.run.folder} has not logged any metrics yet.")
        except UserError as error:
            problems.append(f"No curve: {error}")
    return runs


def _line(runs: Sequence[Run], metric: Metric, x: XAxis, n_points: int) -> dict[str, Any] | None:
    curves = [curve for run in runs if (curve := read_curve(run, metric, x)) is not None]
    if not curves:
        return None
    mean = mean_curve(curves)
    ends = ("x", "mid", "low", "high")
    return {
        "runs": [_points(curve, n_points) for curve in curves],
        "mean": mean and {end: _all_rounded(getattr(mean, end)) for end in ends},
    }


def _points(curve: Curve, n_points: int) -> dict[str, Any]:
    last = len(curve.x) - 1
    chosen = np.unique(np.linspace(0, last, n_points).round().astype(int))
    return {
        "x": _all_rounded(curve.x[chosen]),
        "y": _all_rounded(curve.y[chosen]),
        "cut": curve.is_cut,
    }


def _all_rounded(values: np.ndarray) -> list[float]:
    return [rounded(value) for value in values]


def rounded(value: float) -> float:
    """Return a number with as many digits as a picture shows."""
    return float(f"{value:.{_DIGITS}g}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
