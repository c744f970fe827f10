"""Make tables 1, 2, 5, 6 and 7 of the PPD paper for our runs, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from Algorithm.method_registry import LEARNERS
from Common.errors import UserError
from Evaluation.stats.estimates import Estimate, estimate, iqm, probability_of_improvement
from Evaluation.stats.paper_numbers import (
    CORRUPTED,
    ENV_STEPS,
    SIZES,
    TEACHER,
    Place,
    TableNumber,
    normalised,
    paper_numbers,
)
from Evaluation.stats.scored_runs import SCORE, Measure, ScoredRun, measure_of

Cell = str | Estimate | None
TITLES: dict[TableNumber, str] = {
    1: "Students against their teachers",
    2: "Students of imperfect teachers, against the teachers without noise",
    5: "Scores in each environment",
    6: "Students of imperfect teachers in each environment",
    7: "Students against PPO without a teacher",
}
_IMPERFECT = (2, 6)  # tables of runs with --corrupt_teacher; the others are of runs without
_EACH_ENVIRONMENT = (5, 6)
_REQUIRED: dict[TableNumber, str] = {
    1: "a method with a teacher",
    2: "--corrupt_teacher",
    5: "a method with a teacher",
    6: "--corrupt_teacher",
    7: "--PPO",
}
_PPO, _PPD = LEARNERS["PPO"].paper_name, LEARNERS["PPD"].paper_name


@dataclass(frozen=True)
class PaperTable:
    """A table: rows of cells by column, and notes."""

    number: TableNumber
    rows: tuple[dict[str, Cell], ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"Table {self.number}: {TITLES[self.number]}"


@dataclass(frozen=True)
class _Line:
    """A row before the paper's numbers are added."""

    labels: dict[str, str]
    cells: dict[tuple[str, str], Estimate]  # by size, if columns are per size, and quantity
    place: Place  # in the paper, completed by the column

    def in_paper(self, table: TableNumber, column: tuple[str, str]) -> Estimate | None:
        size, what = column
        place = self.place._replace(size=size or self.place.size, what=what)
        return paper_numbers(table).get(place)


def runs_for(number: TableNumber, scored: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Return the runs of a table; empty if its subject is missing."""
    runs = [r for r in scored if (r.corrupted_teacher is not None) == (number in _IMPERFECT)]
    distilled = [r for r in runs if r.method != _PPO]
    if number != 7:
        return distilled
    return runs if len(distilled) < len(runs) else []


def make_table(number: TableNumber, scored: Sequence[ScoredRun]) -> PaperTable:
    """Make a table of the runs that belong to it.

    Raises:
        UserError: there are none, or no measure fits a suite's runs.
    """
    runs = runs_for(number, scored)
    if not runs:
        raise UserError(
            f"Table {number} ({TITLES[number].lower()}) needs finished runs of "
            f"{_REQUIRED[number]}, but there are none."
        )
    lines, notes = [], []
    for suite in _in_order(r.suite for r in runs):
        of_suite = [r for r in runs if r.suite == suite]
        measure = SCORE if number == 5 else measure_of(of_suite)
        notes.append(f"{suite}: {measure.name}.")
        make_lines = _environment_lines if number in _EACH_ENVIRONMENT else _suite_lines
        made, remarks = make_lines(number, of_suite, measure)
        lines += made
        notes += remarks
    rows = _beside_paper(number, lines)
    return PaperTable(number, rows, (*notes, *_notes(number, runs, rows)))


def _suite_lines(
    number: TableNumber, runs: Sequence[ScoredRun], measure: Measure
) -> tuple[list[_Line], list[str]]:
    """Return a line per size, aggregated over a suite's environments."""
    suite, lines, notes = runs[0].suite, [], []
    for size in _in_order((r.size for r in runs), SIZES):
        alike = [r for r in runs if r.size == size]
        cells = {}
        if number == 7:
            cells["", TEACHER] = _teacher_score(alike)
        if number == 2:
            cells["", CORRUPTED] = _corrupted_teacher(alike, measure)
        students = _by_column(alike, lambda r: ("", r.method))
        values = {column: _relative(group, measure) for column, group in students.items()}
        cells |= {column: estimate(v, measure.statistic) for column, v in values.items()}
        labels = {"suite": suite, "size": size, "runs": _counts(values.values())}
        lines.append(_Line(labels, cells, Place(suite, "", size, "")))
        methods = {what: v for (_, what), v in values.items()}
        notes += _missing(f"{suite}, {size}", methods)
        rivals = [_PPO] if number == 7 else [m for m in methods if m != _PPD]
        notes += _improvement(f"{suite}, {size}", methods, rivals)
    return lines, notes


def _environment_lines(
    number: TableNumber, runs: Sequence[ScoredRun], measure: Measure
) -> tuple[list[_Line], list[str]]:
    """Return a line per environment of a suite, with a column per size and method."""
    suite, lines = runs[0].suite, []
    for env in _in_order(r.env for r in runs):
        here = [r for r in runs if r.env == env]
        cells = {("", TEACHER): _teacher_score(here)}
        if number == 6:
            cells["", CORRUPTED] = _corrupted_teacher(here, measure)
        students = _by_column(here, lambda r: (r.size, r.method))
        values = {column: _relative(group, measure) for column, group in students.items()}
        cells |= {column: estimate(v, measure.statistic) for column, v in values.items()}
        labels = {"suite": suite, "env": env, "runs": _counts(values.values())}
        lines.append(_Line(labels, cells, Place(suite, normalised(env), "", "")))
    return lines, []


def _relative(runs: Sequence[ScoredRun], measure: Measure) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for r in runs:
        values.setdefault(r.env, []).append(measure.relative(r, r.score))
    return values


def _teacher_score(runs: Sequence[ScoredRun]) -> Estimate:
    return estimate(_of_teachers(runs, lambda r: (r.teacher_sha256, r.teacher)), iqm)


def _corrupted_teacher(runs: Sequence[ScoredRun], measure: Measure) -> Estimate:
    def relative(r: ScoredRun) -> tuple[str | None, float]:
        assert r.corrupted_teacher is not None  # only called for imperfect teachers
        return r.run.teacher_sha256, measure.relative(r, r.corrupted_teacher)

    return estimate(_of_teachers(runs, relative), measure.statistic)


def _of_teachers(
    runs: Sequence[ScoredRun], figure: Callable[[ScoredRun], tuple[str | None, float]]
) -> dict[str, list[float]]:
    """Return a figure per teacher, identified by its hash, independent of its students' number."""
    values: dict[str, dict[str | None, float]] = {}
    for r in runs:
        teacher, value = figure(r)
        values.setdefault(r.env, {})[teacher] = value
    return {env: list(group.values()) for env, group in values.items()}


def _by_column(
    runs: Sequence[ScoredRun], column: Callable[[ScoredRun], tuple[str, str]]
) -> dict[tuple[str, str], list[ScoredRun]]:
    """Group runs by column, in the order of the paper's columns."""
    found: dict[tuple[str, str], list[ScoredRun]] = {}
    for r in runs:
        found.setdefault(column(r), []).append(r)
    return {c: found[c] for c in sorted(found, key=_column_order)}


def _column_order(column: tuple[str, str]) -> tuple[object, ...]:
    size, what = column
    by_column = sorted(LEARNERS.values(), key=lambda method: method.paper_column)
    names = (TEACHER, CORRUPTED, *(method.paper_name for method in by_column))
    return _rank(size, ("", *SIZES)), _rank(what, names)


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Return a sort key: known names in their order, then all others alphabetically."""
    return (order.index(name) if name in order else len(order)), name


def _in_order(names: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    return sorted(set(names), key=lambda name: _rank(name, order))


def _beside_paper(number: TableNumber, lines: Sequence[_Line]) -> tuple[dict[str, Cell], ...]:
    columns = sorted({c for line in lines for c in line.cells}, key=_column_order)
    rows: list[dict[str, Cell]] = [dict(line.labels) for line in lines]
    for column in columns:
        title = " ".join(filter(None, column))
        # Only for cells with numbers of ours.
        paper = [line.in_paper(number, column) if column in line.cells else None for line in lines]
        for line, row, theirs in zip(lines, rows, paper, strict=True):
            row[title] = line.cells.get(column)
            if any(p is not None for p in paper):
                row[f"{title}, paper"] = theirs
    return tuple(rows)


def _counts(cells: Iterable[dict[str, list[float]]]) -> str:
    """Return the number of runs per environment over a row's cells, as text."""
    counts = sorted({len(runs) for cell in cells for runs in cell.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _missing(where: str, methods: dict[str, dict[str, list[float]]]) -> list[str]:
    """Return notes on cells of a row that lack environments of other cells."""
    everywhere = {env for values in methods.values() for env in values}
    return [
        f"{where}: {method} lacks {', '.join(sorted(everywhere - values.keys()))}."
        for method, values in methods.items()
        if values.keys() != everywhere
    ]


def _improvement(
    where: str, methods: dict[str, dict[str, list[float]]], rivals: Sequence[str]
) -> list[str]:
    """Return notes on the probability that a run of PPD is better than one of each rival."""
    notes, ppd = [], methods.get(_PPD, {})
    for rival in rivals:
        if ppd and ppd.keys() == methods.get(rival, {}).keys():
            p = probability_of_improvement(ppd, methods[rival])
            interval = "" if p.low is None else f" [{p.low:.2f}, {p.high:.2f}]"
            notes.append(f"{where}: P({_PPD} > {rival}) = {p.value:.2f}{interval}.")
    return notes


def _notes(
    number: TableNumber, runs: Sequence[ScoredRun], rows: Sequence[dict[str, Cell]]
) -> list[str]:
    notes = ["Brackets: 95% intervals, bootstrapped over the runs of each environment."]
    steps = {r.run.last("time/env_steps") for r in runs}
    known = sorted(s for s in steps if s is not None)
    ours = " to ".join(f"{s:,.0f}" for s in sorted({known[0], known[-1]})) if known else "unknown"
    notes.append(f"Env steps per student here: {ours}.")
    if any(title.endswith(", paper") for title in rows[0]):
        notes.append(f"Env steps per student in the paper: {ENV_STEPS:,}.")
        if number == 2:
            notes.append("The paper's numbers are the geometric IQMs of its table 6.")
    return notes
