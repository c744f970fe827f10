"""Print the tables of the PPD paper for runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, get_args

from Common.errors import UserError
from Evaluation.runs import find_runs
from Evaluation.stats.estimates import Estimate
from Evaluation.stats.paper_numbers import TableNumber
from Evaluation.stats.scored_runs import score_runs
from Evaluation.stats.tables import Cell, PaperTable, make_table, runs_for
from Evaluation.table import as_csv, as_markdown

if TYPE_CHECKING:
    from Evaluation.stats.__main__ import Format, StatsFlags

_MISSING = "-"
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", ">": r"$>$", "<": r"$<$"}


def stats_tables(flags: StatsFlags) -> tuple[list[PaperTable], list[str]]:
    """Return the requested tables, and remarks on what they do not include.

    Raises:
        UserError: there are no runs, none of them fits, they cannot be averaged, or there are
            several tables for one CSV file.
    """
    scored, left_out = score_runs(find_runs(flags.runs))
    if not scored:
        raise UserError("\n".join(["None of these runs can be scored.", *left_out]))
    if flags.table is not None:
        return [make_table(flags.table, scored)], left_out
    tables, remarks = [], left_out
    for number in get_args(TableNumber):
        if not runs_for(number, scored):
            continue
        try:
            tables.append(make_table(number, scored))
        except UserError as error:  # of a measure that other tables may not need
            remarks.append(f"No table {number}. {error}")
    if not tables:
        raise UserError("\n".join(remarks))
    if flags.format == "csv" and len(tables) > 1:
        numbers = ", ".join(str(table.number) for table in tables)
        raise UserError(f"A CSV file holds one table. Choose one of {numbers} by --table.")
    return tables, remarks


def render_markdown(table: PaperTable) -> str:
    """Return a table as Markdown: its title, the table, and its notes as a list."""
    rows = [{title: _text(cell) for title, cell in row.items()} for row in table.rows]
    notes = "".join(f"- {note}\n" for note in table.notes)
    return f"### {table.title}\n\n{as_markdown(rows)}\n{notes}"


def render_csv(table: PaperTable) -> str:
    """Return a table as CSV: a column per number, and `_low` and `_high` for its interval."""
    rows = []
    for row in table.rows:
        cells: dict[str, str] = {}
        for title, cell in row.items():
            if isinstance(cell, str):
                cells[title] = cell
                continue
            ends = (None,) * 3 if cell is None else (cell.value, cell.low, cell.high)
            for suffix, value in zip(("", "_low", "_high"), ends, strict=True):
                cells[title + suffix] = "" if value is None else f"{value:.6g}"
        rows.append(cells)
    return as_csv(rows)


def render_latex(table: PaperTable) -> str:
    """Return a table as LaTeX with `booktabs`; the notes are comments."""
    titles = list(table.rows[0])
    texts = [[_escaped(_text(cell)) for cell in row.values()] for row in table.rows]
    lines = [
        *(f"% {line}" for line in (table.title, *table.notes)),
        rf"\begin{{tabular}}{{{'l' * len(titles)}}}",
        r"\toprule",
        " & ".join(map(_escaped, titles)) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in texts),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


_RENDERERS: dict[Format, Callable[[PaperTable], str]] = {
    "markdown": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
}


def _text(cell: Cell) -> str:
    if not isinstance(cell, Estimate):
        return _MISSING if cell is None else cell
    form = ".0f" if abs(cell.value) >= 100 else ".2f"
    interval = "" if cell.low is None else f" [{cell.low:{form}}, {cell.high:{form}}]"
    return f"{cell.value:{form}}{interval}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


def _print(tables: Sequence[PaperTable], remarks: Sequence[str], form: Format) -> None:
    print("\n".join(_RENDERERS[form](table) for table in tables), end="")
    if form == "markdown":
        if remarks:
            print("\nNot shown:\n\n" + "\n".join(f"- {remark}" for remark in remarks))
        return
    # Notes of CSV files, and remarks with run folders, go to stderr.
    notes = tables[0].notes if form == "csv" else ()
    for line in (*notes, *remarks):
        print(line, file=sys.stderr)


def show_stats(flags: StatsFlags) -> None:
    """Print the tables."""
    _print(*stats_tables(flags), flags.format)
