"""Render a report as HTML that needs no network.

The page's content security policy allows only its own scripts and style, by their hashes, and only
files of its own folder. The templates escape all text. Plots are drawn by Plotly, whose script its
Python package brings.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from Common.names import counted
from Evaluation.report.entries import Entry, Found
from Evaluation.report.headline import claims, teacher_phrase
from Evaluation.report.measured import text_of
from Evaluation.report.media import Media
from Evaluation.report.plots import columns, plots
from Evaluation.report.rows import MEASURES, ReportRow, interval, make_rows, slug, typeset
from Evaluation.report.shown import diagnostics, episodes, films, videos
from Evaluation.runs import FEWEST_EPISODES

MEDIA = "media"  # folder of pictures and videos
_BULKY = ("config", "command", "teacher_sha256", "git_sha", "sha256", "actions")


def render_page(title: str, command: str, found: Found, folder: Path) -> str:
    """Return the page's HTML, and copy its pictures and videos to `folder/media`.

    Adds a line to the problems of `found` for everything that could not be shown.
    """
    rows, media = make_rows(found), Media(folder / MEDIA, found.problems)
    groups: dict[tuple[str, str], list[ReportRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.group), []).append(row)
    sections: list[dict[str, Any]] = []
    for of_group in groups.values():
        sections.append(_section(of_group, sections, found, media))
    scripts = {"plotly": Markup(get_plotlyjs()), "script": _asset("page.js")}
    allowed = " ".join(f"'{_hash(script)}'" for script in scripts.values())
    # Plotly makes its own style elements and attributes.
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    template = environment().get_template("page.html")
    return template.render(
        title=title,
        command=command,
        rows=rows,
        summary=_summary(rows),
        choices=_choices(rows),
        sections=sections,
        problems=list(dict.fromkeys(found.problems)),
        policy=policy,
        style=_asset("page.css"),
        fewest_episodes=FEWEST_EPISODES,
        data={section["id"]: section["data"] for section in sections},
        **scripts,
    )


def environment() -> Environment:
    """Return the environment of the templates: text is escaped, and unknown names are errors."""
    made = Environment(
        loader=PackageLoader("Evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.filters |= {"typeset": typeset, "interval": interval, "teacher": teacher_phrase}
    made.filters |= {"score": _score, "settings": _settings}
    made.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    return made


def _section(
    rows: Sequence[ReportRow], before: Sequence[dict[str, Any]], found: Found, media: Media
) -> dict[str, Any]:
    """Return the experiments of a task with one teacher, within which they are compared."""
    task, shown = rows[0].task, columns(rows)
    is_first = all(section["task"] != task for section in before)
    id_ = f"{slug(task)}-{len(before) + 1}"
    return {
        "id": id_,
        "task": task,
        "teacher": rows[0].group,
        "rows": rows,
        "columns": shown,
        "main": next((column for column in shown if column in MEASURES), None),  # sorts the rows
        "claims": claims(rows),
        "data": {"id": id_, **plots(rows, found.problems)},  # for the page's script
        "films": films([f for f in found.films if is_first and f.task == task], media),
        "videos": videos(rows, media),
        "episodes": episodes(rows, media),
        "diagnostics": diagnostics(rows, media),
    }


def _choices(rows: Sequence[ReportRow]) -> dict[str, list[str]]:
    """Return the values of each filter with several values."""
    values = {
        "task": {row.task for row in rows},
        "teacher": {row.group for row in rows},
        "method": {row.name.method for row in rows},
        "size": {row.name.size for row in rows},
    }
    return {name: sorted(options) for name, options in values.items() if len(options) > 1}


def _summary(rows: Sequence[ReportRow]) -> str:
    runs = [entry.run for row in rows for entry in row.entries]
    cut = sum(run.figures is None for run in runs)
    parts = [counted(len(rows), "experiment"), counted(len(runs), "run")]
    if cut:
        parts.append(f"{cut} of them cut short or in progress")
    return f"{', '.join(parts)}; {', '.join(dict.fromkeys(row.task for row in rows))}"


def _score(entry: Entry) -> str:
    scores = ((metric, metric.of(entry.run)) for metric in MEASURES)
    return next((f"{m.title} {value:.3g}" for m, value in scores if value is not None), "")


def _settings(entry: Entry) -> str:
    """Return a run's hashes, configuration and versions."""
    run, described = entry.run, entry.described
    origin = {
        "folder": str(run.folder),
        "student SHA-256": entry.student_sha256,
        "teacher SHA-256": run.teacher_sha256,
        "git": described.get("git_sha"),
    }
    settings = {"student": described.get("config")} if entry.shipped else run.config
    others = {k: v for k, v in described.items() if isinstance(v, dict) and k not in _BULKY}
    return text_of({**origin, **settings, **others})


def _asset(name: str) -> Markup:
    """Return our own style or script, which is not escaped."""
    path = resources.files("Evaluation.report") / "assets" / name
    return Markup(path.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
