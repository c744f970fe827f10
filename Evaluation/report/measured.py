"""Convert the JSON of diagnostics into tables of a report.

Results of `Evaluation.sight`, `robustness` and `linear_probe` are recognised by their content,
independent of file names. The rest, and other JSON, is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from Evaluation.metrics import ENDS, METRICS, Metric, number
from Evaluation.report.details import text_of, words
from Evaluation.report.rows import interval, typeset
from Evaluation.stats.estimates import Estimate

# Figures with a column, and the change of the first of them.
_FIGURES = tuple(METRICS[key] for key in ("return", "skill", "success"))
_CHANGE = replace(METRICS["return"], title="change of return", form="+.2f")
# Pills of a verdict if it is true, and if it is false.
_VERDICTS = {
    "used": (("ahead", "sight is used"), ("undecided", "not shown to be used")),
    "warn": (("undecided", "frames may not be needed"), ("ahead", "frames are needed")),
}


@dataclass(frozen=True)
class Cell:
    """A text, and an interval shown below it."""

    text: str
    interval: str = ""


@dataclass(frozen=True)
class Row:
    """The measurements of a variant. A cell that is None is cut short or damaged."""

    name: str
    cells: tuple[Cell | None, ...]
    note: str = ""
    is_damaged: bool = False


@dataclass(frozen=True)
class Table:
    """A table; without rows, it is cut short or damaged."""

    titles: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""


@dataclass(frozen=True)
class Measurement:
    """The content of a file."""

    tables: Sequence[Table] = ()
    numbers: str = ""  # the rest, folded if there are tables
    pill: tuple[str, str] | None = None  # its kind and text
    verdict: str = ""


def measured(value: Mapping[str, Any]) -> Measurement:
    """Return the content of a file, as tables if its kind is known."""
    rest = dict(value)
    key = next((k for k, (is_known, _) in _KINDS.items() if is_known(value.get(k))), None)
    if key is None:
        return Measurement(numbers=text_of(rest))
    pills = [
        kinds[not rest.pop(name)]
        for name, kinds in _VERDICTS.items()
        if isinstance(rest.get(name), bool)
    ]
    verdict = rest.pop("verdict") if isinstance(rest.get("verdict"), str) else ""
    return Measurement(_KINDS[key][1](value[key]), text_of(rest), next(iter(pills), None), verdict)


# -- sight, robustness, the linear probe -----------------------------------------------------------


def _has(name: str) -> Callable[[Any], bool]:
    """Return a predicate: whether a value is an object of objects, one of which has this key."""

    def has(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        return any(isinstance(inner, dict) and name in inner for inner in value.values())

    return has


def _is_r2(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(place.isdecimal() for place in value)


def _sight(variants: Mapping[str, Any]) -> list[Table]:
    """Return a table with a row per variant; changes are paired by seed."""
    return [
        _table(
            "The student",
            [(name, figures, _fall(figures), "") for name, figures in variants.items()],
        )
    ]


def _fall(figures: Any) -> Estimate | None:
    """Return the change of the return, which is `drop` with the opposite sign."""
    drop, low, high = (number(figures, f"drop{end}") for end in ("", *ENDS))
    if drop is None:
        return None
    return Estimate(-drop, None if high is None else -high, None if low is None else -low)


def _robustness(curves: Mapping[str, Any]) -> list[Table]:
    """Return a table per disturbance."""
    tables = []
    for name, curve in curves.items():
        known = curve if isinstance(curve, dict) else {}
        title, levels = words(name).capitalize(), known.get("levels")
        caption = ", ".join(filter(None, (title, str(known.get("unit") or ""))))
        rows = _levels(levels, known.get("none")) if isinstance(levels, list) else []
        tables.append(_table("Level", rows, caption))
    return tables


_Variant = tuple[str, Any, Estimate | None, str]  # name, figures, change of the return, note


def _levels(levels: Sequence[Any], none: Any) -> list[_Variant]:
    """Return a row per level, with the change of the return from the undisturbed level."""
    returns = [number(at, "return") for at in levels if number(at, "level") == none]
    rows, intact = [], returns[0] if returns else None
    for at in levels:
        level, value = number(at, "level"), number(at, "return")
        is_intact = level is not None and level == none
        name = "?" if level is None else typeset(f"{level:g}")
        change = None
        if not is_intact and value is not None and intact is not None:
            change = Estimate(value - intact)
        rows.append((name, at, change, "undisturbed" if is_intact else ""))
    return rows


def _probe(r2: Mapping[str, Any]) -> list[Table]:
    """Return a table with a row per element of the state outside proprioception."""
    rows = []
    for place, raw in r2.items():
        value = number(r2, place)
        cell = None if value is None else Cell(typeset(f"{value:.3f}"))
        rows.append(Row(f"state[{place}]", (Cell("constant") if raw is None else cell,)))
    return [Table(("Outside proprioception", "R\u00b2, held out"), rows)]


_KINDS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], list[Table]]]] = {
    "variants": (_has("return"), _sight),
    "curves": (_has("levels"), _robustness),
    "r2": (_is_r2, _probe),
}


def _table(first: str, variants: Sequence[_Variant], caption: str = "") -> Table:
    """Return a table of figures with their intervals, and of the change of the return."""
    value, *others = (
        metric
        for metric in _FIGURES
        if metric is _FIGURES[0] or any(_estimate(figures, metric) for _, figures, _, _ in variants)
    )
    rows = []
    for name, figures, change, note in variants:
        cells = [_cell(_estimate(figures, value), value), _cell(change, _CHANGE)]
        cells += [_cell(_estimate(figures, metric), metric) for metric in others]
        rows.append(Row(name, tuple(cells), note, is_damaged=_estimate(figures, value) is None))
    titles = [metric.title.capitalize() for metric in (value, _CHANGE, *others)]
    return Table((first, *titles), rows, caption)


def _estimate(figures: Any, metric: Metric) -> Estimate | None:
    value, low, high = (number(figures, metric.key + end) for end in ("", *ENDS))
    return None if value is None else Estimate(value, low, high)


def _cell(estimate: Estimate | None, metric: Metric) -> Cell:
    if estimate is None:
        return Cell("\u2013")
    ends = interval(estimate, metric).replace(" to ", " to\u00a0")
    return Cell(typeset(metric.written(estimate.value)), ends)
