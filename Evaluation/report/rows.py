"""The rows of a report's table: one experiment each, with its figures and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from Algorithm.method_registry import method_title
from Common.errors import UserError
from Enviroment import seeds
from Evaluation.names import RowName, name_rows, size_name
from Evaluation.report.entries import Entry, Found, TeacherBundle
from Evaluation.runs import Run
from Evaluation.stats.estimates import Estimate, estimate
from Evaluation.table import Row, distance_name, rows_of

_RESAMPLES = 2000
_LEVELS = (0.90, 0.95)  # of skill, whose time is told


@dataclass(frozen=True)
class Column:
    """A figure of a run, and how it is shown."""

    key: str
    title: str
    of: Callable[[Run], float | None]
    form: str
    interval: bool = False  # shown with it
    more_is_better: bool = True


@dataclass(frozen=True)
class ReportRow:
    """One experiment: runs that differ by their seeds, or a shipped student."""

    id: str
    task: str
    name: RowName
    entries: tuple[Entry, ...]
    values: Mapping[str, Estimate]  # by column
    over: str  # what the intervals are over
    teacher: str
    blind: bool

    @property
    def shipped(self) -> bool:
        return self.entries[0].shipped

    @property
    def continues(self) -> bool:
        """Whether it began with another run's student, whose cost is not in its own."""
        config = self.entries[0].run.config
        flags = [(config.get("cloning"), "folder_Dagger"), (config.get("training"), "init_from")]
        return any(isinstance(group, dict) and group.get(name) for group, name in flags)

    @property
    def finished(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.run.figures is not None]

    @property
    def compared(self) -> list[Entry]:
        """The finished runs that were evaluated on enough episodes to be ranked."""
        return [entry for entry in self.finished if not entry.run.is_barely_evaluated]

    @property
    def teacher_return(self) -> float | None:
        """What its skill is measured against."""
        entries = self.compared or self.finished
        return figure(entries[0].run, "teacher_return") if entries else None

    def scores(self, measure: str) -> np.ndarray:
        """Of the runs that are compared, `(runs,)`."""
        numbers = [figure(entry.run, measure) for entry in self.compared]
        return np.array([value for value in numbers if value is not None])


def figure(run: Run, name: str) -> float | None:
    """A figure on evaluation seeds, if it is a number."""
    value = (run.figures or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _distance(run: Run) -> float | None:
    name = distance_name(run)
    return None if name is None else figure(run, name)


def _last(metric: str) -> Callable[[Run], float | None]:
    def last(run: Run) -> float | None:
        try:
            return run.last(metric)
        except UserError:
            return None

    return last


def _minutes_to(level: float) -> Callable[[Run], float | None]:
    def minutes(run: Run) -> float | None:
        try:
            seconds = run.seconds_to(level)
        except UserError:
            return None
        return None if seconds is None else seconds / 60

    return minutes


def _of(name: str) -> Callable[[Run], float | None]:
    return lambda run: figure(run, name)


# Methods are compared by the first of these that each of them has.
MEASURES = ("skill", "ratio", "return")
COLUMNS = (
    Column("skill", "Skill", _of("skill"), ".3f", interval=True),
    Column("ratio", "Ratio to teacher", _of("ratio"), ".3f", interval=True),
    Column("return", "Return", _of("return"), ".2f", interval=True),
    Column("distance", "Distance (m)", _distance, ".3f", interval=True, more_is_better=False),
    Column("success", "Success", _of("success"), ".0%", interval=True),
    Column("env_steps", "Env steps", _last("time/env_steps"), ",.0f", more_is_better=False),
    Column(
        "gradient_steps",
        "Gradient steps",
        _last("time/gradient_steps"),
        ",.0f",
        more_is_better=False,
    ),
    Column("seconds", "Seconds", _last("time/seconds"), ",.0f", more_is_better=False),
    *(
        Column(
            f"to_{level:.2f}",
            f"Min to {level:.2f}",
            _minutes_to(level),
            ".1f",
            more_is_better=False,
        )
        for level in _LEVELS
    ),
    Column("latency", "ms an action", _of("latency_p50_ms"), ".2f", more_is_better=False),
    Column("parameters", "Parameters", _of("parameters"), ",.0f", more_is_better=False),
)


def make_rows(found: Found) -> list[ReportRow]:
    """The rows, by task and best first; runs that were cut short count where nothing else is."""
    by_run = {id(entry.run): entry for entry in found.entries}
    runs = [entry.run for entry in found.entries if not entry.shipped]
    rows: list[ReportRow] = []
    for task in sorted({run.task for run in runs}):
        of_task = rows_of([run for run in runs if run.task == task])
        for row, name in zip(of_task, _renamed(of_task), strict=True):
            entries = tuple(by_run[id(run)] for run in row.runs)
            rows.append(_make(entries, name, found.teachers))
    for entry in found.entries:
        if entry.shipped:
            run = entry.run
            name = RowName(
                method_title(run.method), size_name(run.config["student"]), (run.folder.name,)
            )
            rows.append(_make((entry,), name, found.teachers))
    rows.sort(key=_order)
    return [replace(row, id=f"row-{number}") for number, row in enumerate(rows, 1)]


def by_teacher(rows: Sequence[ReportRow]) -> dict[str, list[ReportRow]]:
    """A task's rows by the teacher that their skill is measured against, which alone makes it
    comparable. What has no teacher (PPO) is with the one that had the same return, if any had.
    """
    groups: dict[str, list[ReportRow]] = {}
    for row in rows:
        alike = (
            other.teacher
            for other in rows
            if other.teacher != "none" and other.teacher_return == row.teacher_return is not None
        )
        teacher = next(alike, row.teacher) if row.teacher == "none" else row.teacher
        groups.setdefault(teacher, []).append(row)
    return groups


def _renamed(rows: Sequence[Row]) -> list[RowName]:
    """A teacher is no setting here: it has its own column."""
    return [
        replace(
            name, settings=tuple(s for s in name.settings if not s.startswith("teacher_sha256"))
        )
        for name in name_rows(rows)
    ]


def _make(
    entries: tuple[Entry, ...], name: RowName, teachers: Mapping[str, TeacherBundle]
) -> ReportRow:
    finished = [entry.run for entry in entries if entry.run.figures is not None]
    finished = [run for run in finished if not run.is_barely_evaluated] or finished
    runs = finished or [entry.run for entry in entries]
    values = {c.key: v for c in COLUMNS if (v := _value(c, runs)) is not None}
    episodes = figure(runs[0], "episodes")
    alone = "" if episodes is None else f"{episodes:.0f} episodes of one run"
    first = entries[0]
    return ReportRow(
        id="",
        task=first.run.task,
        name=name,
        entries=entries,
        values=values,
        over=f"{len(finished)} runs" if len(finished) > 1 else alone,
        teacher=_teacher(first, teachers),
        blind=bool(first.run.config["student"].get("blind")),
    )


def _value(column: Column, runs: Sequence[Run]) -> Estimate | None:
    numbers = [value for run in runs if (value := column.of(run)) is not None]
    if not numbers:
        return None
    if len(numbers) > 1:
        return estimate({"": numbers}, resamples=_RESAMPLES)
    ends = [figure(runs[0], f"{column.key}_{end}") for end in ("low", "high")]
    return Estimate(numbers[0], *ends) if len(runs) == 1 else Estimate(numbers[0])


def _teacher(entry: Entry, teachers: Mapping[str, TeacherBundle]) -> str:
    """What the teacher is called: the folder that it lies in, or came from, and its hash."""
    run = entry.run
    corruption, teaching = run.config.get("corruption"), run.config.get("teaching")
    sha256 = run.teacher_sha256
    if isinstance(corruption, dict):
        sha256 = corruption.get("uncorrupted_sha256", sha256)
    if not isinstance(sha256, str):
        if not entry.shipped:
            return "none"
        sha256 = _same_return(run, teachers)
        if sha256 is None:
            return "not recorded"
    path = teaching.get("teacher") if isinstance(teaching, dict) else None
    known = teachers.get(sha256)
    name = known.name if known else PurePath(path).name if isinstance(path, str) else ""
    return f"{name} {sha256[:8]}".strip()


def _same_return(run: Run, teachers: Mapping[str, TeacherBundle]) -> str | None:
    """Of the teacher whose return on the same seeds the run's figures hold."""
    said, episodes = figure(run, "teacher_return"), figure(run, "episodes")
    if said is None or episodes is None or figure(run, "first_seed") != seeds.EVALUATION.start:
        return None
    return next((s for s, t in teachers.items() if t.returned(said, round(episodes))), None)


def _order(row: ReportRow) -> tuple[Any, ...]:
    for rank, measure in enumerate(MEASURES):
        if measure in row.values and row.compared:
            return (row.task, rank, -row.values[measure].value, str(row.name))
    return (row.task, len(MEASURES), 0.0, str(row.name))
