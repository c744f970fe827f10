"""Prepare the comparison of experiments with one teacher as JSON for the page's script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from Evaluation.metrics import Metric, number
from Evaluation.report.curves import rounded
from Evaluation.report.rows import COLUMNS, MEASURES, ReportRow
from Evaluation.stats.estimates import Estimate, performance_profile, probability_of_improvement

_RESAMPLES = 2000
_THRESHOLDS = 61  # of a performance profile
_MAX_RIVALS = 10  # best experiments to compare all others with
_TEACHER = "teacher_"  # prefix of the teacher's figures on the same seeds


def comparison(rows: Sequence[ReportRow]) -> dict[str, Any]:
    """Return figures, performance profiles and probabilities of improvement.

    Profiles and probabilities are of experiments of at least two runs, by the first of skill, ratio
    and return that all of these have.

    Args:
        rows: experiments with the same teacher.
    """
    several = [row for row in rows if len(row.compared) > 1]
    measure = next((m for m in MEASURES if all(len(r.scores(m)) > 1 for r in several)), None)
    return {
        "rows": [_row(row) for row in rows],
        "scores": {metric.key: _title(metric, rows) for metric in columns(rows)},
        "measure": measure and measure.label,
        "profile": _profiles(several, measure) if measure else {},
        "improvement": _improvements(several, measure) if measure else {},
    }


def columns(rows: Sequence[ReportRow]) -> list[Metric]:
    """Return the figures that at least one row has."""
    return [c for c in COLUMNS if any(c.key in row.values for row in rows)]


def _row(row: ReportRow) -> dict[str, Any]:
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


def _title(metric: Metric, rows: Sequence[ReportRow]) -> dict[str, Any]:
    level = metric.teacher
    if not isinstance(level, float):
        figures = (entry.run.figures for row in rows for entry in row.compared)
        levels = (number(of_run, _TEACHER + metric.key) for of_run in figures)
        level = next((known for known in levels if known is not None), None)
    return {"title": metric.heading, "label": metric.label, "teacher": level}


def _profiles(rows: Sequence[ReportRow], measure: Metric) -> dict[str, Any]:
    """Return the thresholds, and the share of each row's runs above them with its interval."""
    if not rows:
        return {}
    scores = {row.id: row.scores(measure) for row in rows}  # (runs,) each
    pooled = np.concatenate(list(scores.values()))
    margin = 0.05 * (np.ptp(pooled) or 1.0)
    thresholds = np.linspace(pooled.min() - margin, pooled.max() + margin, _THRESHOLDS)
    shares = {
        id_: performance_profile({"": of_row}, thresholds, resamples=_RESAMPLES)
        for id_, of_row in scores.items()
    }
    return {
        "x": [rounded(threshold) for threshold in thresholds],
        "lines": {
            id_: dict(
                zip(("mid", "low", "high"), zip(*map(_ends, of_row), strict=True), strict=True)
            )
            for id_, of_row in shares.items()
        },
    }


def _improvements(rows: Sequence[ReportRow], measure: Metric) -> dict[str, dict[str, Any]]:
    """Return by row, and by each other row, the probability that a run of the first is better."""
    return {
        row.id: {
            other.id: _ends(
                probability_of_improvement(
                    {"": row.scores(measure)}, {"": other.scores(measure)}, resamples=_RESAMPLES
                )
            )
            for other in rows
            if other is not row
        }
        for row in rows[:_MAX_RIVALS]
        if len(rows) > 1
    }


def _ends(value: Estimate) -> list[float | None]:
    return [end if end is None else rounded(end) for end in (value.value, value.low, value.high)]
