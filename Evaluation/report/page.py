"""The page of a report: HTML that needs no network, from what `Evaluation.report.rows` found.

The page's policy allows no script and no style but its own, by their hashes, and nothing that lies
outside its folder. All text is escaped where it enters.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from Evaluation.report.curves import task_curves
from Evaluation.report.diagnostics import diagnostics
from Evaluation.report.entries import Film
from Evaluation.report.headline import Claim, claims
from Evaluation.report.media import Media
from Evaluation.report.parts import films, run_details, videos
from Evaluation.report.rows import ReportRow, by_teacher
from Evaluation.report.table import results_tables, swatch
from Evaluation.runs import FEWEST_EPISODES

MEDIA = "media"  # folder of what the page shows beside text
_PILLS = {
    "ahead": ("ahead", "the interval excludes 0"),
    "not decided": ("undecided", "not decided"),
    "one run": ("undecided", "one run is no proof"),
    "no rival": ("", "nothing to compare with"),
}


@dataclass(frozen=True)
class Page:
    """What is shown."""

    title: str
    command: str
    rows: Sequence[ReportRow]
    films: Sequence[Film]
    problems: list[str]


def render_page(page: Page, folder: Path) -> str:
    """The page's HTML. What it shows beside text is copied to `folder/media`."""
    media = Media(folder / MEDIA, page.problems)
    tasks = list(dict.fromkeys(row.task for row in page.rows))
    sections, curves = [], {}
    for number, task in enumerate(tasks, 1):
        rows = [row for row in page.rows if row.task == task]
        curves[f"task-{number}"] = task_curves(rows, page.problems)
        of_task = [film for film in page.films if film.task == task]
        sections.append(_section(task, f"task-{number}", rows, of_task, curves, media))
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=escape(page.title),
        style=style,
        script=script,
        summary=escape(_summary(page.rows)),
        filters=_filters(page.rows),
        sections="\n".join(sections),
        problems=_problems(page.problems),
        command=escape(page.command),
        data=_json({"rows": _row_data(page.rows), "tasks": curves}),
    )


def _section(
    task: str,
    id_: str,
    rows: Sequence[ReportRow],
    of_task: Sequence[Film],
    curves: dict[str, Any],
    media: Media,
) -> str:
    moving = films(of_task, media) + videos(rows, media)
    parts = [
        f'<section class="task" data-task="{escape(task)}" aria-labelledby="{id_}">',
        f'<h2 id="{id_}">{escape(task)}</h2>',
        _headline(claims(rows)),
        results_tables(rows, id_),
        _curves(id_, curves[id_], rows),
        _part("Videos", moving, "grid"),
        _part("Diagnostics", diagnostics(rows, media), "grid"),
        _part("Runs", "\n".join(run_details(row) for row in rows), "runs"),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _part(title: str, content: str, kind: str) -> str:
    if not content:
        return ""
    return f'<div data-part><h3>{title}</h3><div class="{kind}">\n{content}\n</div></div>'


def _headline(found: Sequence[Claim]) -> str:
    if not found:
        return (
            f'<p class="note">No finished run here has a score over {FEWEST_EPISODES} evaluation '
            "seeds or more, so nothing can be said of who wins.</p>"
        )
    first, *others = (_claim(claim) for claim in found)
    if not others:
        return first
    more = f"{len(others)} more comparison{'s' if len(others) > 1 else ''}"
    return (
        f'{first}\n<details class="others"><summary>{more}, of other teachers and sizes</summary>'
        + "\n".join(others)
        + "</details>"
    )


def _claim(claim: Claim) -> str:
    kind, label = _PILLS[claim.verdict]
    details = "".join(f"<p>{escape(line)}</p>" for line in claim.details)
    return (
        f'<div class="claim {kind}"><p class="where">{escape(claim.where)} '
        f'<span class="pill {kind}">{label}</span></p>'
        f'<p class="statement">{escape(claim.statement)}</p>{details}</div>'
    )


def _curves(id_: str, curves: dict[str, Any], rows: Sequence[ReportRow]) -> str:
    if not curves["lines"]:
        return '<h3>Learning curves</h3><p class="note">No run here has logged an evaluation.</p>'
    chosen = _first_axis(curves)
    metrics = "".join(
        f'<option value="{key}">{escape(m["title"])}</option>'
        for key, m in curves["metrics"].items()
    )
    axes = "".join(
        f'<option value="{x}"{" selected" if x == chosen else ""}>{escape(title)}</option>'
        for x, title in curves["axes"].items()
    )
    drawn = {row for of in curves["lines"].values() for lines in of.values() for row in lines}
    legend = "".join(
        f'<li data-row="{row.id}">{swatch(look)}{escape(str(row.name))}</li>'
        for look, row in enumerate(rows)
        if row.id in drawn
    )
    several = len(by_teacher(rows)) > 1
    note = " Each student's skill is on the scale of its own teacher." if several else ""
    return f"""<div data-part><h3>Learning curves</h3>
<p class="note">Thick: the interquartile mean over runs with its 95% interval; thin: single runs; a
cross: the end of a run that was cut short. With the pointer or the arrow keys the values are read
off.{note}</p>
<figure class="curves" data-curves="{id_}"><div class="controls">
<label>Show <select name="metric">{metrics}</select></label>
<label>against <select name="axis">{axes}</select></label></div>
<div class="plot"><svg class="chart" tabindex="0" role="img" aria-label="Learning curves; arrow keys
move along them, the table above has the results"></svg>
<div class="readout" aria-live="polite" hidden></div></div>
<ul class="legend">{legend}</ul></figure></div>"""


def _first_axis(curves: dict[str, Any]) -> str:
    """On which most rows have more than a point: cloning has one place alone in env steps."""
    by_axis = next(iter(curves["lines"].values()))

    def drawn(axis: str) -> int:
        lines = by_axis[axis].values()
        return sum(any(len(run["x"]) > 1 for run in line["runs"]) for line in lines)

    return max(by_axis, key=drawn)


def _filters(rows: Sequence[ReportRow]) -> str:
    groups = {
        "task": ("Task", sorted({row.task for row in rows})),
        "method": ("Method", sorted({row.name.method for row in rows})),
        "size": ("Size", sorted({row.name.size for row in rows})),
    }
    sets = "".join(
        f"<fieldset><legend>{title}</legend>"
        + "".join(
            f'<label><input type="checkbox" name="{name}" value="{escape(value)}" checked>'
            f"{escape(value)}</label>"
            for value in values
        )
        + "</fieldset>"
        for name, (title, values) in groups.items()
        if len(values) > 1
    )
    if any(not row.finished for row in rows):
        sets += (
            '<fieldset><legend>State</legend><label><input type="checkbox" name="finished">'
            "only experiments with a finished run</label></fieldset>"
        )
    if not sets:
        return ""
    return (
        f'<form class="filters" id="filters" aria-label="Filters">{sets}'
        '<p class="shown" id="shown" role="status" aria-live="polite"></p>'
        '<button type="button" id="reset">Show all</button></form>'
    )


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(problems))
    return (
        '<section class="problems" aria-labelledby="problems"><h2 id="problems">Not shown</h2>'
        f"<ul>{items}</ul></section>"
    )


def _summary(rows: Sequence[ReportRow]) -> str:
    runs = [entry for row in rows for entry in row.entries]
    cut = sum(entry.run.figures is None for entry in runs)
    parts = [f"{len(rows)} experiments", f"{len(runs)} runs"]
    if cut:
        parts.append(f"{cut} of them cut short or under way")
    return ", ".join(parts) + f"; {', '.join(dict.fromkeys(row.task for row in rows))}"


def _row_data(rows: Sequence[ReportRow]) -> list[dict[str, Any]]:
    looks: dict[str, int] = {}  # rows so far, by task
    data = []
    for row in rows:
        look = looks.setdefault(row.task, 0)
        looks[row.task] += 1
        data.append(
            {
                "id": row.id,
                "task": row.task,
                "method": row.name.method,
                "size": row.name.size,
                "name": str(row.name),
                "finished": bool(row.finished),
                "look": look,
            }
        )
    return data


def _json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return (resources.files("Evaluation.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
