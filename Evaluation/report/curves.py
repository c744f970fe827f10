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

_MAX_POINTS = 60  # per run
_DIGITS = 5


def task_curves(rows: Sequence[ReportRow], problems: list[str]) -> dict[str, Any]:
    """Return a task's metrics and axes, and the curves of each row for each of them.

    Adds a line to `problems` per run whose metrics cannot be read.
    """
    readable = [_readable(row, problems) for row in rows]
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for key, metric in CURVES.items():
        for x in get_args(XAxis):
            drawn = {
                row.id: line
                for row, runs in zip(rows, readable, strict=True)
                if (line := _line(runs, metric, x)) is not None
            }
            if drawn:
                lines.setdefault(key, {})[x] = drawn
    runs = [run for of_row in readable for run in of_row]
    return {
        "metrics": {
            key: {
                "title": METRICS[key].label,
                "log": METRICS[key].log,
                "lowest": _finite(METRICS[key].lowest),
                "teacher": [_round(v) for v in teacher_levels(runs, METRICS[key])],
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


def _line(runs: Sequence[Run], metric: Metric, x: XAxis) -> dict[str, Any] | None:
    curves = [curve for run in runs if (curve := read_curve(run, metric, x)) is not None]
    if not curves:
        return None
    mean = mean_curve(curves)
    ends = ("x", "mid", "low", "high")
    return {
        "runs": [_points(curve) for curve in curves],
        "mean": mean and {end: _rounded(getattr(mean, end)) for end in ends},
    }


def _points(curve: Curve) -> dict[str, Any]:
    last = len(curve.x) - 1
    chosen = np.unique(np.linspace(0, last, _MAX_POINTS).round().astype(int))
    return {"x": _rounded(curve.x[chosen]), "y": _rounded(curve.y[chosen]), "cut": curve.is_cut}


def _rounded(values: np.ndarray) -> list[float]:
    return [_round(value) for value in values]


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
