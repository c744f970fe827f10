"""Make the tables of a report: a row per experiment, with its interval drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from Evaluation.metrics import Metric
from Evaluation.report.headline import teacher_phrase
from Evaluation.report.rows import COLUMNS, MEASURES, ReportRow, by_teacher
from Evaluation.stats.estimates import Estimate

_WIDTH, _HEIGHT = 110, 14  # pixels of a drawn interval


@dataclass(frozen=True)
class Forest:
    """A drawn interval; positions are in pixels from the left."""

    place: float
    ends: tuple[float, float] | None
    teacher: float | None  # None if it is not on the scale
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class ResultsTable:
    """The experiments of one teacher, within which skill is comparable."""

    id: str
    teacher: str
    rows: Sequence[ReportRow]

    @property
    def columns(self) -> list[Metric]:
        """Return the figures that at least one row has."""
        return [c for c in COLUMNS if any(c.key in row.values for row in self.rows)]

    @property
    def main(self) -> Metric | None:
        """Return the column by which rows are sorted and whose intervals are drawn."""
        return next((column for column in self.columns if column in MEASURES), None)

    @property
    def sorted_by(self) -> str:
        """Return that column's title."""
        return "" if self.main is None else self.main.heading

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Return each column's title, and whether it is first sorted in descending order."""
        figures = [(column.heading, column.more_is_better) for column in self.columns]
        return [("experiment", False), ("runs", True), *figures, ("teacher", False)]

    def forest(self, value: Estimate) -> Forest:
        """Return where to draw an estimate of the main column."""
        low, high = self._scale()

        def place(number: float) -> float:
            share = (number - low) / (high - low)
            return round(min(max(share, 0.0), 1.0) * (_WIDTH - 8) + 4, 1)

        ends = None
        if value.low is not None and value.high is not None:
            ends = place(value.low), place(value.high)
        return Forest(place(value.value), ends, place(1.0) if low == 0 else None)

    def _scale(self) -> tuple[float, float]:
        """Return the range of drawn intervals. Values worse than blind are drawn at the edge."""
        main = self.main
        values = [row.values[main.key] for row in self.rows if main and main.key in row.values]
        ends = [end for v in values for end in (v.value, v.low, v.high) if end is not None]
        if main is not None and main.key in ("skill", "ratio"):
            return 0.0, max([1.0, *ends])
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        return (low, high) if high > low else (low - 1, high + 1)


def results_tables(rows: Sequence[ReportRow], id_: str) -> list[ResultsTable]:
    """Return a task's tables, one per teacher."""
    return [
        ResultsTable(f"{id_}-{number}", teacher_phrase(teacher), of_teacher)
        for number, (teacher, of_teacher) in enumerate(by_teacher(rows).items(), 1)
    ]
