"""The table of a report: a row for each experiment, with its interval drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from Evaluation.report.headline import called
from Evaluation.report.rows import COLUMNS, MEASURES, Column, ReportRow, by_teacher
from Evaluation.runs import FEWEST_EPISODES
from Evaluation.stats.estimates import Estimate

_CAPTION = (
    "On unseen seeds. Below each figure is its 95% interval: over runs, or over episodes where "
    "there is one run. A title sorts by its column."
)
_CONTINUED = (
    " DAgger, and what began with another run's student, is told without that run's gradient steps "
    "and seconds."
)
_WIDTH, _HEIGHT = 110, 14  # pixels of a drawn interval


def results_tables(rows: Sequence[ReportRow], id_: str) -> str:
    """A task's tables, one for each teacher: skill is on the scale of one teacher alone."""
    looks = {row.id: look for look, row in enumerate(rows)}
    groups = by_teacher(rows)
    tables = []
    for number, (teacher, of_teacher) in enumerate(groups.items(), 1):
        name = called(teacher)
        title = f"<h4>{escape(name[0].upper() + name[1:])}</h4>\n" if len(groups) > 1 else ""
        table = _results_table(of_teacher, looks, f"{id_}-{number}")
        tables.append(f'<div class="ranking" data-part>{title}{table}</div>')
    return "<h3>Results</h3>\n" + "\n".join(tables)


def _results_table(rows: Sequence[ReportRow], looks: Mapping[str, int], id_: str) -> str:
    """One table, with what a phone needs to sort it."""
    columns = [c for c in COLUMNS if any(c.key in row.values for row in rows)]
    main = next((c for c in columns if c.key in MEASURES), None)
    scale = _scale(rows, main)
    titles = ["Experiment", "Runs", *(c.title for c in columns), "Teacher"]
    falling = ["Runs", *(c.title for c in columns if c.more_is_better)]
    sorted_by = main.title if main is not None else ""
    heads = [_head(title, title in falling, title == sorted_by) for title in titles]
    body = "\n".join(_row(row, looks[row.id], columns, main, scale) for row in rows)
    options = "".join(
        f'<option value="{i}"{" selected" if title == sorted_by else ""}>{escape(title)}</option>'
        for i, title in enumerate(titles)
    )
    note = _CONTINUED if any(row.continues for row in rows) else ""
    return f"""<div class="sorter"><label for="{id_}-sort">Sort by</label>
<select id="{id_}-sort">{options}</select><button type="button">Turn round</button></div>
<div class="frame" tabindex="0" role="group" aria-label="Results">
<table class="results" role="table"><caption>{_CAPTION}{note}</caption>
<thead><tr role="row">{"".join(heads)}</tr></thead>
<tbody role="rowgroup">
{body}
</tbody></table></div>"""


def swatch(look: int) -> str:
    """A piece of the line that stands for a row in the curves."""
    return (
        f'<svg class="swatch s{look % 7}" viewBox="0 0 30 12" aria-hidden="true">'
        f'<line class="d{look % 5}" x1="0" x2="30" y1="6" y2="6"/>'
        f'<use href="#m{look % 8}" x="10" y="1" width="10" height="10"/></svg>'
    )


def _head(title: str, falls: bool, is_sorted: bool) -> str:
    """A column's title, which sorts by it: falling first where more is better."""
    order = "descending" if falls else "ascending"
    sort = f' aria-sort="{order}"' if is_sorted else ""
    return (
        f'<th scope="col" role="columnheader" data-first="{order}"{sort}>'
        f'<button type="button">{escape(title)}</button></th>'
    )


def _row(
    row: ReportRow,
    look: int,
    columns: Sequence[Column],
    main: Column | None,
    scale: tuple[float, float],
) -> str:
    settings = "".join(f'<span class="settings">{escape(s)}</span>' for s in row.name.settings)
    name = escape(f"{row.name.method}, {row.name.size}")
    cells = [
        f'<th scope="row" role="rowheader" data-kind="text" data-sort="{escape(str(row.name))}">'
        f'{swatch(look)}<a href="#{row.id}">{name}</a>{settings}</th>',
        _runs(row),
    ]
    for column in columns:
        cells.append(_cell(row, look, column, scale if column is main else None))
    cells.append(
        f'<td role="cell" data-title="Teacher" data-kind="text" data-sort="{escape(row.teacher)}">'
        f"<span>{escape(row.teacher)}</span></td>"
    )
    return f'<tr role="row" data-row="{row.id}" class="row">{"".join(cells)}</tr>'


def _runs(row: ReportRow) -> str:
    n, cut = len(row.finished), len(row.entries) - len(row.finished)
    note = f'<span class="pill cut">{cut} cut short</span>' if cut else ""
    note += '<span class="settings">shipped</span>' if row.shipped else ""
    few = len(row.finished) - len(row.compared)
    what = f"{few} on fewer than {FEWEST_EPISODES} episodes"
    note += f'<span class="settings">{what}</span>' if few else ""
    return f'<td role="cell" data-title="Runs" data-sort="{n}"><span>{n}</span>{note}</td>'


def _cell(row: ReportRow, look: int, column: Column, scale: tuple[float, float] | None) -> str:
    title = escape(column.title)
    value = row.values.get(column.key)
    if value is None:
        return f'<td role="cell" class="none" data-title="{title}"><span>&ndash;</span></td>'
    text = f'<span class="{"main" if scale else "value"}">{_number(value.value, column)}</span>'
    if column.interval and value.low is not None and value.high is not None:
        ends = f"{_number(value.low, column)} to {_number(value.high, column)}"
        text += f'<span class="interval">{ends}</span>'
    if scale is not None:
        text += _forest(value, scale, look)
    return f'<td role="cell" data-title="{title}" data-sort="{value.value:.9g}">{text}</td>'


def _scale(rows: Sequence[ReportRow], main: Column | None) -> tuple[float, float]:
    """What the drawn intervals span."""
    values = [row.values[main.key] for row in rows if main and main.key in row.values]
    ends = [end for v in values for end in (v.value, v.low, v.high) if end is not None]
    if main is not None and main.key in ("skill", "ratio"):
        return 0.0, max([1.0, *ends])  # what is worse than blind is drawn at the edge
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _forest(value: Estimate, scale: tuple[float, float], look: int) -> str:
    def place(number: float) -> float:
        share = (number - scale[0]) / (scale[1] - scale[0])
        return round(min(max(share, 0.0), 1.0) * (_WIDTH - 8) + 4, 1)

    middle = _HEIGHT / 2
    parts = [f'<line class="rail" x1="4" x2="{_WIDTH - 4}" y1="{middle}" y2="{middle}"/>']
    if scale[0] == 0:
        x = place(1.0)  # the teacher
        parts.append(f'<line class="level" x1="{x}" x2="{x}" y1="0" y2="{_HEIGHT}"/>')
    if value.low is not None and value.high is not None:
        ends = place(value.low), place(value.high)
        parts.append(f'<line x1="{ends[0]}" x2="{ends[1]}" y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle cx="{place(value.value)}" cy="{middle}" r="3.5"/>')
    return (
        f'<svg class="forest s{look % 7}" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _number(value: float, column: Column) -> str:
    return f"{value:{column.form}}".replace("-", "\u2212")
