"""Render a report as HTML that needs no network.

The page's content security policy allows only its own script and style, by their hashes, and only
files of its own folder. The templates escape all text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from Common.names import counted
from Evaluation.report.curves import task_curves
from Evaluation.report.details import Details, run_details, text_of, words
from Evaluation.report.diagnostics import Card, diagnostics
from Evaluation.report.entries import Film
from Evaluation.report.headline import Claim, claims
from Evaluation.report.media import Media
from Evaluation.report.rows import ReportRow, interval, typeset
from Evaluation.report.table import ResultsTable, results_tables
from Evaluation.report.videos import Video, films, videos
from Evaluation.runs import FEWEST_EPISODES

MEDIA = "media"  # folder of pictures and videos


@dataclass(frozen=True)
class Page:
    """The content of the page."""

    title: str
    command: str
    rows: Sequence[ReportRow]
    films: Sequence[Film]
    problems: list[str]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(row.task for row in self.rows))

    @property
    def choices(self) -> dict[str, list[str]]:
        """Return the values of each filter with several values."""
        values = {
            "task": {row.task for row in self.rows},
            "method": {row.name.method for row in self.rows},
            "size": {row.name.size for row in self.rows},
        }
        return {name: sorted(options) for name, options in values.items() if len(options) > 1}

    @property
    def summary(self) -> str:
        runs = [entry for row in self.rows for entry in row.entries]
        cut = sum(entry.run.figures is None for entry in runs)
        parts = [counted(len(self.rows), "experiment"), counted(len(runs), "run")]
        if cut:
            parts.append(f"{cut} of them cut short or in progress")
        return f"{', '.join(parts)}; {', '.join(self.tasks)}"


@dataclass(frozen=True)
class Section:
    """The section of a task."""

    id: str
    task: str
    claims: Sequence[Claim]
    tables: Sequence[ResultsTable]
    curves: Mapping[str, Any]  # for the page's script
    drawn_rows: Sequence[ReportRow]  # rows with a curve
    videos: Sequence[Video]
    diagnostics: Sequence[Card | Video]
    runs: Sequence[tuple[ReportRow, Sequence[Details]]]

    @property
    def first_axis(self) -> str:
        """The axis on which most rows have several points; cloning has only one in env steps."""
        by_axis = next(iter(self.curves["lines"].values()))

        def drawn(axis: str) -> int:
            lines = by_axis[axis].values()
            return sum(any(len(run["x"]) > 1 for run in line["runs"]) for line in lines)

        return max(by_axis, key=drawn)


def render_page(page: Page, folder: Path) -> str:
    """Return the page's HTML, and copy its pictures and videos to `folder/media`."""
    media = Media(folder / MEDIA, page.problems)
    sections = [_section(page, f"task-{i}", task, media) for i, task in enumerate(page.tasks, 1)]
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    return (
        environment()
        .get_template("page.html")
        .render(
            page=page,
            sections=sections,
            policy=policy,
            style=style,
            script=script,
            fewest_episodes=FEWEST_EPISODES,
            data={
                "rows": [_row_data(row) for row in page.rows],
                "tasks": {section.id: section.curves for section in sections},
            },
        )
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
    made.filters |= {"words": words, "text": text_of, "typeset": typeset, "interval": interval}
    made.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    return made


def _section(page: Page, id_: str, task: str, media: Media) -> Section:
    rows = [row for row in page.rows if row.task == task]
    curves = task_curves(rows, page.problems)
    drawn = {
        row for by_axis in curves["lines"].values() for lines in by_axis.values() for row in lines
    }
    return Section(
        id=id_,
        task=task,
        claims=claims(rows),
        tables=results_tables(rows, id_),
        curves=curves,
        drawn_rows=[row for row in rows if row.id in drawn],
        videos=films([f for f in page.films if f.task == task], media) + videos(rows, media),
        diagnostics=diagnostics(rows, media),
        runs=[(row, [run_details(entry) for entry in row.entries]) for row in rows],
    )


def _row_data(row: ReportRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "task": row.task,
        "method": row.name.method,
        "size": row.name.size,
        "name": str(row.name),
        "finished": bool(row.finished),
        "look": row.look,
    }


def _asset(name: str) -> Markup:
    """Return our own style or script, which is not escaped."""
    path = resources.files("Evaluation.report") / "assets" / name
    return Markup(path.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
