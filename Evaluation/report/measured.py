"""Convert the JSON of diagnostics into tables of a report.

Results of `Evaluation.sight`, `robustness` and `linear_probe` are recognised by their content,
independent of file names. The rest, and other JSON, is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from Evaluation.metrics import ENDS, METRICS, Metric, number
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
    """A text, and what is shown below it: an interval or a note."""

    text: str = "\u2013"
    below: str = ""
    is_damaged: bool = False


@dataclass(frozen=True)
class Table:
    """A table, whose rows begin with their names; without rows, it is cut short or damaged."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
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


def words(name: str) -> str:
    """Return a key with spaces instead of underscores."""
    return name.replace("_", " ")


def text_of(value: Mapping[str, Any]) -> str:
    """Return a JSON object as YAML, which is shorter to read; values that are null are omitted."""
    known = {key: inner for key, inner in value.items() if inner is not None}
    return yaml.safe_dump(known, sort_keys=False, allow_unicode=True) if known else ""


# -- sight, robustness, the linear probe -----------------------------------------------------------


def _has(name: str) -> Callable[[Any], bool]:
    """Return a predicate: whether a value is an object of objects, one of which has this key."""
    return lambda value: (
        isinstance(value, dict)
        and any(isinstance(inner, dict) and name in inner for inner in value.values())
    )


def _is_r2(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(place.isdecimal() for place in value)


_Variant = tuple[Cell, Any, Estimate | None]  # name, figures, change of the return


def _sight(variants: Mapping[str, Any]) -> list[Table]:
    """Return a table with a row per variant; changes are paired by seed."""
    rows: list[_Variant] = []
    for name, figures in variants.items():
        drop, low, high = (number(figures, f"drop{end}") for end in ("", *ENDS))
        ends = (None if end is None else -end for end in (high, low))
        rows.append((Cell(name), figures, None if drop is None else Estimate(-drop, *ends)))
    return [_table("The student", rows)]


def _robustness(curves: Mapping[str, Any]) -> list[Table]:
    """Return a table per disturbance: a row per level, with the change from the undisturbed one."""
    tables = []
    for name, curve in curves.items():
        known = curve if isinstance(curve, dict) else {}
        levels, none = known.get("levels"), known.get("none")
        levels = levels if isinstance(levels, list) else []
        intact = next((number(at, "return") for at in levels if number(at, "level") == none), None)
        rows: list[_Variant] = []
        for at in levels:
            level, value = number(at, "level"), number(at, "return")
            is_intact = level is not None and level == none
            title = Cell("?" if level is None else typeset(f"{level:g}"), "undisturbed" * is_intact)
            change = None
            if not is_intact and value is not None and intact is not None:
                change = Estimate(value - intact)
            rows.append((title, at, change))
        unit = f", {known['unit']}" if known.get("unit") else ""
        tables.append(_table("Level", rows, words(name).capitalize() + unit))
    return tables


def _probe(r2: Mapping[str, Any]) -> list[Table]:
    """Return a table with a row per element of the state outside proprioception."""
    rows = []
    for place, raw in r2.items():
        value = number(r2, place)
        text = "constant" if raw is None else "" if value is None else typeset(f"{value:.3f}")
        rows.append((Cell(f"state[{place}]"), Cell(text, is_damaged=not text)))
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
        if metric is _FIGURES[0] or any(_estimate(figures, metric) for _, figures, _ in variants)
    )
    rows = []
    for name, figures, change in variants:
        returned = _estimate(figures, value)
        cells = [_cell(returned, value), _cell(change, _CHANGE)]
        cells += [_cell(_estimate(figures, metric), metric) for metric in others]
        rows.append((replace(name, is_damaged=returned is None), *cells))
    titles = [metric.title.capitalize() for metric in (value, _CHANGE, *others)]
    return Table((first, *titles), rows, caption)


def _estimate(figures: Any, metric: Metric) -> Estimate | None:
    value, low, high = (number(figures, metric.key + end) for end in ("", *ENDS))
    return None if value is None else Estimate(value, low, high)


def _cell(estimate: Estimate | None, metric: Metric) -> Cell:
    if estimate is None:
        return Cell()
    ends = interval(estimate, metric).replace(" to ", " to\u00a0")
    return Cell(typeset(metric.written(estimate.value)), ends)
