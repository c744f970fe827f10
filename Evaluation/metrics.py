"""Every figure of a student, declared once: its names, unit and format, and where it is read.

Tables, learning curves, the report and the table at the end of a run read this list. To add a
figure, measure it and declare it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from Evaluation.runs import SECONDS, SKILL, Run

# In front of figures on seeds that the student was trained on, and in its teacher's states.
ID, TEACHER_STATES = "id_", "teacher_states_"
ENDS = ("_low", "_high")  # behind a figure, of its 95% interval

Place = Literal["table", "report"]


@dataclass(frozen=True)
class Metric:
    """A figure of a student. It is read from an evaluation's figures, else by `of_run`."""

    key: str  # of the command line
    title: str  # of a column or a row
    form: str = ".3f"
    unit: str = ""
    axis: str = ""  # title of an axis, where that has room for a longer one

    evaluated: str = ""  # key of evaluation.json; may hold `*`, where the task names the rest
    of_run: Callable[[Run], float | None] | None = None
    columns: tuple[Place, ...] = ()  # the tables of runs that have a column of it
    has_interval: bool = True  # the report's column shows it; a cost has none
    more_is_better: bool = True
    table_form: str = ""  # in `Evaluation.table`, if it differs: for spreadsheets

    logged: str = ""  # key of metrics.jsonl; may hold `*`, likewise
    comparable: bool = True  # between methods; else only a run's own curves show it
    teacher: str | float | None = None  # the teacher's level: a logged key, or a number
    log: bool = False  # drawn so if every value is above zero
    lowest: float = -math.inf  # values below are cut off where they are drawn

    @property
    def heading(self) -> str:
        """Return the title of a column, with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def label(self) -> str:
        """Return the title of an axis, with the unit."""
        title = self.axis or self.title
        return f"{title} [{self.unit}]" if self.unit else title

    def written(self, value: float) -> str:
        """Return a value as tables show it, without the unit."""
        return format(value, self.form)

    def evaluated_key(self, figures: Mapping[str, Any]) -> str | None:
        """Return where an evaluation on unseen seeds holds this figure; None: nowhere."""
        unseen = sorted(key for key in figures if not key.startswith(ID))
        return next((key for key in unseen if fnmatchcase(key, self.evaluated)), None)

    def of(self, run: Run) -> float | None:
        """Return the figure of a run, or None.

        Raises:
            UserError: the run's metrics are missing or damaged.
        """
        if self.of_run is not None:
            return self.of_run(run)
        figures = run.figures or {}
        return number(figures, self.evaluated_key(figures))


def number(figures: Any, key: str | None) -> float | None:
    """Return a finite number of an object; None where there is none, or no object."""
    value = figures.get(key) if isinstance(figures, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def by_columns(place: Place) -> tuple[Metric, ...]:
    """Return the figures that a table of runs has columns of, in their order."""
    return tuple(metric for metric in METRICS.values() if place in metric.columns)


def _last(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.last(key)


def _minutes(run: Run) -> float | None:
    seconds = run.last(SECONDS)
    return None if seconds is None else seconds / 60


def _minutes_to(skill: float) -> Callable[[Run], float | None]:
    def minutes(run: Run) -> float | None:
        seconds = run.seconds_to(skill)
        return None if seconds is None else seconds / 60

    return minutes


_TABLES: tuple[Place, ...] = ("table", "report")
_LEVELS = (0.90, 0.95)  # of skill, whose time is told


def _cost(key: str, title: str, form: str, of_run: Callable[[Run], float | None]) -> Metric:
    """Return a column of both tables for what learning took."""
    return Metric(
        key, title, form, columns=_TABLES, of_run=of_run, has_interval=False, more_is_better=False
    )


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(
            "skill",
            "skill",
            axis="skill (0 blind, 1 teacher)",
            evaluated="skill",
            columns=_TABLES,
            logged=SKILL,
            teacher=1.0,
            lowest=-0.5,  # an untrained student's -7 would flatten what matters
        ),
        Metric("ratio", "ratio to the teacher", evaluated="ratio", columns=("report",)),
        Metric(
            "return",
            "return",
            ".2f",
            axis="return of an episode",
            evaluated="return",
            columns=_TABLES,
            logged="eval/od_return",
            teacher="eval/teacher_return",
        ),
        Metric(
            "distance",
            "distance",
            unit="m",
            axis="distance at the end",
            evaluated="*_distance",
            columns=_TABLES,
            more_is_better=False,
            logged="eval/od_*_distance",
        ),
        Metric(
            "success",
            "success",
            ".0%",
            axis="share of successful episodes",
            evaluated="success",
            columns=_TABLES,
            table_form=".2f",
            logged="eval/od_success",
        ),
        Metric(
            "accuracy",
            "action accuracy",
            evaluated="action_accuracy",
            logged="eval/action_accuracy",
            teacher=1.0,
        ),
        Metric(
            "kl",
            "KL(teacher || student)",
            unit="nats",
            axis="KL to the teacher",
            evaluated="kl",
            more_is_better=False,
            logged="train/kl",
            log=True,
        ),
        Metric("pg_loss", "policy loss", logged="train/pg_loss", comparable=False),
        Metric("value_loss", "value loss", logged="train/value_loss", comparable=False, log=True),
        Metric(
            "entropy", "policy entropy", unit="nats", logged="rollout/entropy", comparable=False
        ),
        replace(
            _cost("env_steps", "env steps", ",.0f", _last("time/env_steps")),
            axis="environment steps",
        ),
        _cost("gradient_steps", "gradient steps", ",.0f", _last("time/gradient_steps")),
        Metric("samples", "samples learned from", ",.0f"),  # `plots.curves` counts them
        Metric("seconds", "seconds", ",.0f", axis="seconds of the run", of_run=_last(SECONDS)),
        _cost("minutes", "minutes", ".1f", _minutes),
        *(
            _cost(f"to_{level:.2f}", f"min to {level:.2f}", ".1f", _minutes_to(level))
            for level in _LEVELS
        ),
        Metric(
            "latency",
            "latency, median",
            ".2f",
            unit="ms",
            evaluated="latency_p50_ms",
            columns=("report",),
            has_interval=False,
            more_is_better=False,
        ),
        Metric(
            "latency_p99",
            "latency, 99th percentile",
            ".2f",
            unit="ms",
            evaluated="latency_p99_ms",
            more_is_better=False,
        ),
        Metric(
            "parameters",
            "parameters",
            ",.0f",
            evaluated="parameters",
            columns=("report",),
            has_interval=False,
            more_is_better=False,
        ),
        Metric("bytes", "weights", ",.0f", unit="bytes", evaluated="bytes", more_is_better=False),
    )
}
# What curves of several runs show.
CURVES = {key: metric for key, metric in METRICS.items() if metric.logged and metric.comparable}
