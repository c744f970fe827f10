"""Measurements of a report's page as tables, from the JSON of other tools.

What `Evaluation.sight`, `robustness` and `linear_probe` write is known by its content, whatever
its file is called. Any other JSON is shown as it is: facts, tables where it has some, and numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from Evaluation.report.parts import facts, text_of, words
from Evaluation.stats.estimates import Estimate

DAMAGED = '<span class="pill cut">cut short or damaged</span>'
_WIDEST = 12  # columns of a table that is not known here
# Of `EpisodeStats.summary`: the title, and how it is written.
_FIGURES = {"return": ("Return", ".2f"), "skill": ("Skill", ".3f"), "success": ("Success", ".0%")}
# Of a verdict: the pill if it is true, and if it is not.
_VERDICTS = {
    "used": (("ahead", "sight is used"), ("undecided", "not shown to be used")),
    "warn": (("undecided", "frames may not be needed"), ("ahead", "frames are needed")),
}


@dataclass(frozen=True)
class _Row:
    """What was measured of one variant; `change` is that of the return, from the intact one."""

    name: str
    figures: Any  # an object, where nothing is damaged
    change: Estimate | None
    note: str = ""


def measured(value: Mapping[str, Any]) -> tuple[str, str]:
    """What a file says, as HTML: a pill for its title, which may be empty, and its content."""
    key = next((k for k, (is_known, _) in _KINDS.items() if is_known(value.get(k))), None)
    if key is None:
        return "", _unknown(value)
    rest = {k: v for k, v in value.items() if k != key}
    pill, verdict = "", ""
    for name, (if_true, if_false) in _VERDICTS.items():
        if isinstance(rest.get(name), bool):
            kind, said = if_true if rest.pop(name) else if_false
            pill = f'<span class="pill {kind}">{said}</span>'
    if isinstance(rest.get("verdict"), str):
        verdict = f'<p class="verdict">{escape(rest.pop("verdict"))}</p>'
    _, draw = _KINDS[key]
    return pill, f"{verdict}{draw(value[key])}{_unknown(rest)}{_numbers({key: value[key]})}"


# -- sight, robustness, the linear probe -----------------------------------------------------------


def _has_returns(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return any(isinstance(of, dict) and "return" in of for of in value.values())


def _has_levels(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return any(isinstance(of, dict) and "levels" in of for of in value.values())


def _is_r2(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(place.isdecimal() for place in value)


def _sight(variants: Mapping[str, Any]) -> str:
    """A row for each variant; the changes are paired by seed."""
    rows = [_Row(name, of, _fall(of)) for name, of in variants.items()]
    return _table("The student", rows)


def _fall(figures: Any) -> Estimate | None:
    """By how much the return changes: `drop`, which is how much it falls, turned round."""
    drop, low, high = (_number(figures, f"drop{end}") for end in ("", "_low", "_high"))
    if drop is None:
        return None
    return Estimate(-drop, None if high is None else -high, None if low is None else -low)


def _robustness(curves: Mapping[str, Any]) -> str:
    """A table for each disturbance."""
    tables = []
    for name, curve in curves.items():
        known = curve if isinstance(curve, dict) else {}
        title, levels = words(name).capitalize(), known.get("levels")
        caption = escape(", ".join(filter(None, (title, text_of(known.get("unit"))))))
        if not isinstance(levels, list) or not levels:
            tables.append(f'<p class="verdict"><strong>{caption}</strong> {DAMAGED}</p>')
        else:
            tables.append(_table("Level", _levels(levels, known.get("none")), caption))
    return f'<div class="tables">{"".join(tables)}</div>'


def _levels(levels: Sequence[Any], none: Any) -> list[_Row]:
    """A row for each level; the returns are compared with the one at which nothing changes."""
    returns = [_number(at, "return") for at in levels if _number(at, "level") == none]
    rows, intact = [], returns[0] if returns else None
    for at in levels:
        level, value = _number(at, "level"), _number(at, "return")
        name = "?" if level is None else _written(level, "g")
        if level is not None and level == none:
            rows.append(_Row(name, at, None, "undisturbed"))
        elif value is None or intact is None:
            rows.append(_Row(name, at, None))
        else:
            rows.append(_Row(name, at, Estimate(value - intact)))
    return rows


def _probe(r2: Mapping[str, Any]) -> str:
    """A row for each number of the state that proprioception does not have."""
    rows = []
    for place, of in r2.items():
        value = _number(r2, place)
        shown = "constant" if of is None else DAMAGED if value is None else _written(value, ".3f")
        rows.append(f'<tr><th scope="row">state[{place}]</th><td>{shown}</td></tr>')
    return _scrolling(_head(("Outside proprioception", "R\u00b2, held out")), "".join(rows))


_KINDS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], str]]] = {
    "variants": (_has_returns, _sight),
    "curves": (_has_levels, _robustness),
    "r2": (_is_r2, _probe),
}


# -- tables ----------------------------------------------------------------------------------------


def _table(first: str, rows: Sequence[_Row], caption: str = "") -> str:
    """Figures with their intervals below them, and the change of the return beside it."""
    shown = [
        name
        for name in _FIGURES
        if name == "return" or any(_number(row.figures, name) is not None for row in rows)
    ]
    titles = [_FIGURES[name][0] for name in shown]
    titles.insert(1, "Change of return")
    body = []
    for row in rows:
        cells = [_cell(_estimate(row.figures, name), _FIGURES[name][1]) for name in shown]
        cells.insert(1, _cell(row.change, "+.2f"))
        name = escape(row.name)
        if row.note:
            name += f'<span class="interval">{escape(row.note)}</span>'
        if _number(row.figures, "return") is None:
            name += f" {DAMAGED}"
        body.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return _scrolling(_head((first, *titles)), "".join(body), caption)


def _estimate(figures: Any, name: str) -> Estimate | None:
    value, low, high = (_number(figures, f"{name}{end}") for end in ("", "_low", "_high"))
    return None if value is None else Estimate(value, low, high)


def _cell(of: Estimate | None, form: str) -> str:
    if of is None:
        return "<td>&ndash;</td>"
    interval = ""
    if of.low is not None and of.high is not None:
        ends = f"{_written(of.low, form)} to\u00a0{_written(of.high, form)}"
        interval = f'<span class="interval">{ends}</span>'
    return f"<td>{_written(of.value, form)}{interval}</td>"


def _number(figures: Any, name: str) -> float | None:
    """A finite number of an object; None where there is none, or no object."""
    value = figures.get(name) if isinstance(figures, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _written(value: float, form: str) -> str:
    return format(value, form).replace("-", "\u2212")


def _head(titles: Sequence[str]) -> str:
    return "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)


def _scrolling(head: str, body: str, caption: str = "") -> str:
    label = caption or "Measurements"
    title = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">'
        f'<table class="measured">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


# -- anything else ---------------------------------------------------------------------------------


def _unknown(value: Mapping[str, Any]) -> str:
    """JSON of a shape that is not known here: a table of what is one, and facts."""
    plain = {k: v for k, v in value.items() if not isinstance(v, dict | list)}
    parts = [facts(plain)] if plain else []
    tables = {k: v for k, v in value.items() if isinstance(v, dict)}
    flat = {
        k: v for k, v in tables.items() if not any(isinstance(x, dict | list) for x in v.values())
    }
    columns = list(dict.fromkeys(name for row in flat.values() for name in row))
    if flat and len(columns) <= _WIDEST:
        body = "".join(
            f'<tr><th scope="row">{escape(words(name))}</th>'
            + "".join(f"<td>{escape(text_of(row.get(c)))}</td>" for c in columns)
            + "</tr>"
            for name, row in flat.items()
        )
        parts.append(_scrolling(_head(["", *map(words, columns)]), body))
        tables = {k: v for k, v in tables.items() if k not in flat}
    rest = tables | {k: v for k, v in value.items() if isinstance(v, list)}
    return "".join([*parts, _numbers(rest) if rest else ""])


def _numbers(value: Mapping[str, Any]) -> str:
    """All of it, for who asks."""
    text = escape(json.dumps(value, indent=1))
    return (
        f'<details class="measured"><summary>Numbers</summary><pre class="json">{text}</pre>'
        "</details>"
    )
