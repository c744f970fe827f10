"""Make the rows of a report: one experiment each, with its figures and their intervals."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from Algorithm.method_registry import method_title
from Common.errors import UserError
from Common.names import counted
from Enviroment.seeds import EVALUATION
from Evaluation.metrics import METRICS, Metric, by_columns, number
from Evaluation.names import RowName, name_rows, size_name
from Evaluation.report.entries import MINUS, Entry, Found, TeacherBundle
from Evaluation.runs import Run
from Evaluation.stats.estimates import Estimate, estimate
from Evaluation.table import Row, rows_of

_RESAMPLES = 2000
_LONGEST_ID = 120  # letters
_SIGHT = "sight"  # the figure that is tested of some runs, with an interval over episodes
# Methods are compared by the first of these figures that all of them have.
MEASURES = tuple(METRICS[key] for key in ("skill", "ratio", "return"))
COLUMNS = by_columns("report")


def typeset(number: str) -> str:
    """Return a number with a minus sign instead of a hyphen."""
    return number.replace("-", MINUS)


def interval(value: Estimate, metric: Metric) -> str:
    """Return an interval as text; empty if there is none."""
    if value.low is None or value.high is None:
        return ""
    return typeset(f"{metric.written(value.low)} to {metric.written(value.high)}")


@dataclass(frozen=True)
class ReportRow:
    """One experiment: runs that differ by their seeds, or a shipped student."""

    id: str  # of its name, so that links survive further runs
    task: str
    name: RowName
    entries: tuple[Entry, ...]
    values: Mapping[str, Estimate]  # by column
    over: str  # runs or episodes of the intervals
    teacher: str
    blind: bool
    group: str = ""  # the teacher that its skill refers to; only rows of one group are compared
    look: int = 0  # index in its group, for its colour, line and marker

    @property
    def shipped(self) -> bool:
        return self.entries[0].shipped

    def n_with(self, column: Metric) -> int:
        """Return how many of the measured runs have a figure, such as a time to a skill."""
        return sum(_of(column, entry.run) is not None for entry in self.measured)

    @property
    def taught(self) -> bool:
        """Whether it learned from the teacher of its group."""
        return self.teacher == self.group

    @property
    def continues(self) -> bool:
        """Whether it started from another run's student, whose costs are not included."""
        config = self.entries[0].run.config
        flags = [(config.get("cloning"), "folder_Dagger"), (config.get("training"), "init_from")]
        return any(isinstance(group, dict) and group.get(name) for group, name in flags)

    @property
    def finished(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.run.figures is not None]

    @property
    def compared(self) -> list[Entry]:
        """The finished runs evaluated on enough episodes to be compared."""
        return [entry for entry in self.finished if not entry.run.is_barely_evaluated]

    @property
    def measured(self) -> Sequence[Entry]:
        """The runs of its values: those to be compared; else the finished ones; else all."""
        return self.compared or self.finished or self.entries

    @property
    def teacher_return(self) -> float | None:
        """The teacher's return that its skill refers to."""
        entries = self.compared or self.finished
        return number(entries[0].run.figures, "teacher_return") if entries else None

    def scores(self, measure: Metric) -> np.ndarray:
        """Return the scores of the compared runs, `(runs,)`."""
        numbers = [measure.of(entry.run) for entry in self.compared]
        return np.array([value for value in numbers if value is not None])


def make_rows(found: Found) -> list[ReportRow]:
    """Return the rows by task, best first; unfinished runs count only in rows without others."""
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
            run, method = entry.run, method_title(entry.run.method)
            name = RowName(method, size_name(run.config["student"]), (run.folder.name,))
            rows.append(_make((entry,), name, found.teachers))
    rows.sort(key=_order)
    looks, ids, placed = Counter[tuple[str, str]](), Counter[str](), list[ReportRow]()
    for row in rows:
        group = _group(row, rows)
        id_ = slug(f"{row.task} {group} {row.name}")
        ids[id_] += 1
        id_ = f"{id_}-{ids[id_]}" if ids[id_] > 1 else id_
        placed.append(replace(row, id=id_, group=group, look=looks[row.task, group]))
        looks[row.task, group] += 1
    return placed


def slug(text: str) -> str:
    """Return a text as an identifier of the page and its addresses."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:_LONGEST_ID] or "row"


def _group(row: ReportRow, rows: Sequence[ReportRow]) -> str:
    """Return the teacher that a row's skill refers to, within which skill is comparable.

    For methods without a teacher (PPO), it is one of the same return, if there is one.
    """
    alike = (
        other.teacher
        for other in rows
        if other.task == row.task and other.teacher != "none"
        if other.teacher_return == row.teacher_return is not None
    )
    return next(alike, row.teacher) if row.teacher == "none" else row.teacher


def _renamed(rows: Sequence[Row]) -> list[RowName]:
    """Name rows without the teacher, which has its own column."""
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
    episodes = number(runs[0].figures, "episodes")
    alone = "" if episodes is None else f"{counted(episodes, 'episode')} of one run"
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


def _value(column: Metric, runs: Sequence[Run]) -> Estimate | None:
    scored = [(value, run) for run in runs if (value := _of(column, run)) is not None]
    if len(scored) > 1:
        return estimate({"": [value for value, _ in scored]}, resamples=_RESAMPLES)
    has_ends = len(runs) == 1 or column.key == _SIGHT
    return next(
        (Estimate(v, *(column.interval_of(run) if has_ends else ())) for v, run in scored), None
    )


def _of(column: Metric, run: Run) -> float | None:
    """Return a figure of a run; None if the run is damaged, which the curves report."""
    try:
        return column.of(run)
    except UserError:
        return None


def _teacher(entry: Entry, teachers: Mapping[str, TeacherBundle]) -> str:
    """Return the teacher's name: its folder and its hash."""
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
    """Return the hash of the teacher with the return on the same seeds in the run's figures."""
    value, episodes = number(run.figures, "teacher_return"), number(run.figures, "episodes")
    if value is None or not episodes or number(run.figures, "first_seed") != EVALUATION.start:
        return None
    for sha256, teacher in teachers.items():
        first = teacher.returns[: round(episodes)]
        if len(first) == episodes and math.isclose(sum(first) / episodes, value):
            return sha256
    return None


def _order(row: ReportRow) -> tuple[Any, ...]:
    for rank, measure in enumerate(MEASURES):
        if measure.key in row.values and row.compared:
            return (row.task, rank, -row.values[measure.key].value, str(row.name))
    return (row.task, len(MEASURES), 0.0, str(row.name))
