"""Declare every figure of a student once: its names, unit, format and source.

Tables, learning curves, the report and the table at the end of a run use this list. To add a
figure, measure it and declare it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from Evaluation.runs import SECONDS, SKILL, Run
from Evaluation.stats.estimates import share_interval

# Prefixes of figures on training seeds, and of figures in the teacher's states.
ID, TEACHER_STATES = "id_", "teacher_states_"
ENDS = ("_low", "_high")  # suffixes of the ends of a figure's 95% interval

Place = Literal["table", "report"]


@dataclass(frozen=True)
class Metric:
    """A figure of a student, read by `of_run` if given, else from an evaluation's figures."""

    key: str  # name on the command line
    title: str  # title of columns and rows
    form: str = ".3f"
    unit: str = ""
    axis: str = ""  # longer title for axes; default: `title`

    evaluated: str = ""  # key of evaluation.json, may be a pattern with `*`
    source: Callable[[Run], Mapping[str, Any] | None] = lambda run: run.figures  # holds `evaluated`
    of_run: Callable[[Run], float | None] | None = None
    is_share: bool = False  # of the episodes
    columns: tuple[Place, ...] = ()  # tables of runs with a column of it
    has_interval: bool = True  # whether the report shows an interval; not for costs
    more_is_better: bool = True
    table_form: str = ""  # format in `Evaluation.table`, if it differs

    logged: str = ""  # key of metrics.jsonl, may be a pattern with `*`
    comparable: bool = True  # between methods; otherwise shown only in the curves of single runs
    teacher: str | float | None = None  # the teacher's level: a logged key, or a number
    log: bool = False  # log scale, if all values are above zero
    lowest: float = -math.inf  # lower limit of axes

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
        """Return a value formatted for tables, without the unit."""
        return format(value, self.form)

    def evaluated_key(self, figures: Mapping[str, Any]) -> str | None:
        """Return the key of this figure in an evaluation on unseen seeds, or None."""
        unseen = sorted(key for key in figures if not key.startswith(ID))
        return next((key for key in unseen if fnmatchcase(key, self.evaluated)), None)

    def of(self, run: Run) -> float | None:
        """Return the figure of a run, or None.

        Raises:
            UserError: the run's metrics are missing or damaged.
        """
        if self.of_run is not None:
            return self.of_run(run)
        figures = self.source(run) or {}
        return number(figures, self.evaluated_key(figures))

    def interval_of(self, run: Run) -> tuple[float | None, float | None]:
        """Return the ends of the 95% interval over a run's episodes; None if they are unknown."""
        figures = self.source(run) or {}
        key = self.evaluated_key(figures) or ""
        low, high = (number(figures, key + end) for end in ENDS)
        share, episodes = number(figures, key), number(figures, "episodes")
        if low is None and self.is_share and share is not None and episodes:
            return share_interval(share, round(episodes))
        return low, high


def number(figures: Any, key: str | None) -> float | None:
    """Return a finite number of a mapping; None if it is missing or not a finite number."""
    value = figures.get(key) if isinstance(figures, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def by_columns(place: Place) -> tuple[Metric, ...]:
    """Return the figures that are columns of a table of runs, in order."""
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
_LEVELS = (0.90, 0.95)  # levels of skill for the time to reach them


def _cost(key: str, title: str, form: str, of_run: Callable[[Run], float | None]) -> Metric:
    """Return a figure of the costs of training, with a column in both tables."""
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
            lowest=-0.5,  # an untrained student's -7 would flatten the rest
        ),
        Metric("ratio", "ratio to the teacher", evaluated="ratio", columns=("report",)),
        Metric(
            "return",
            "return",
            ".2f",
            axis="return per episode",
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
            is_share=True,
            table_form=".2f",
            logged="eval/od_success",
            teacher="eval/teacher_success",
        ),
        Metric(
            "sight",
            "needs its frames",
            ".2f",
            axis="return lost with frames of another episode",
            evaluated="drop",
            source=lambda run: run.sight,
            columns=("report",),
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
# Figures for curves of several runs.
CURVES = {key: metric for key, metric in METRICS.items() if metric.logged and metric.comparable}
