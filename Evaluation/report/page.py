"""Render a report as HTML that needs no network.

The page's content security policy allows only its own scripts and style, by their hashes, and only
files of its own folder. The templates escape all text. Plots are drawn by Plotly, whose script its
Python package brings.
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
from plotly.offline import get_plotlyjs

from Common.names import counted
from Evaluation.metrics import Metric
from Evaluation.report.comparison import columns, comparison
from Evaluation.report.curves import task_curves
from Evaluation.report.details import Details, run_details
from Evaluation.report.diagnostics import Card, diagnostics
from Evaluation.report.entries import Film
from Evaluation.report.headline import Claim, claims, teacher_phrase
from Evaluation.report.media import Media
from Evaluation.report.rows import MEASURES, ReportRow, interval, slug, typeset
from Evaluation.report.videos import Video, episodes, films, videos
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
    def choices(self) -> dict[str, list[str]]:
        """Return the values of each filter with several values."""
        values = {
            "task": {row.task for row in self.rows},
            "teacher": {row.group for row in self.rows},
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
        return f"{', '.join(parts)}; {', '.join(dict.fromkeys(row.task for row in self.rows))}"


@dataclass(frozen=True)
class Section:
    """The experiments of a task with one teacher, within which they are compared."""

    id: str
    task: str
    teacher: str
    rows: Sequence[ReportRow]
    claims: Sequence[Claim]
    data: Mapping[str, Any]  # of the plots, for the page's script
    films: Sequence[Video]
    videos: Sequence[Video]
    episodes: Sequence[Video]
    diagnostics: Sequence[Card | Video]
    runs: Sequence[tuple[ReportRow, Sequence[Details]]]

    @property
    def columns(self) -> list[Metric]:
        """The figures that at least one row has."""
        return columns(self.rows)

    @property
    def main(self) -> Metric | None:
        """The column by which rows are sorted."""
        return next((column for column in self.columns if column in MEASURES), None)

    @property
    def first_axis(self) -> str:
        """The axis on which most rows have several points; cloning has only one in env steps."""
        by_axis = next(iter(self.data["curves"]["lines"].values()))

        def drawn(axis: str) -> int:
            lines = by_axis[axis].values()
            return sum(any(len(run["x"]) > 1 for run in line["runs"]) for line in lines)

        return max(by_axis, key=drawn)


def render_page(page: Page, folder: Path) -> str:
    """Return the page's HTML, and copy its pictures and videos to `folder/media`."""
    media = Media(folder / MEDIA, page.problems)
    groups: dict[tuple[str, str], list[ReportRow]] = {}
    for row in page.rows:
        groups.setdefault((row.task, row.group), []).append(row)
    sections: list[Section] = []
    for rows in groups.values():
        is_first = all(section.task != rows[0].task for section in sections)
        found = [film for film in page.films if is_first and film.task == rows[0].task]
        id_ = f"{slug(rows[0].task)}-{len(sections) + 1}"
        sections.append(_section(id_, rows, found, page.problems, media))
    style, script, plotly = _asset("page.css"), _asset("page.js"), Markup(get_plotlyjs())
    # Plotly makes its own style elements and attributes.
    policy = (
        f"default-src 'none'; script-src '{_hash(plotly)}' '{_hash(script)}'; "
        "style-src 'unsafe-inline'; "
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
            plotly=plotly,
            fewest_episodes=FEWEST_EPISODES,
            data={section.id: section.data for section in sections},
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
    made.filters |= {"typeset": typeset, "interval": interval}
    made.filters["teacher"] = teacher_phrase
    made.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    return made


def _section(
    id_: str, rows: Sequence[ReportRow], found: Sequence[Film], problems: list[str], media: Media
) -> Section:
    return Section(
        id=id_,
        task=rows[0].task,
        teacher=rows[0].group,
        rows=rows,
        claims=claims(rows),
        data={"id": id_, "curves": task_curves(rows, problems), **comparison(rows)},
        films=films(found, media),
        videos=videos(rows, media),
        episodes=episodes(rows, media),
        diagnostics=diagnostics(rows, media),
        runs=[(row, [run_details(entry) for entry in row.entries]) for row in rows],
    )


def _asset(name: str) -> Markup:
    """Return our own style or script, which is not escaped."""
    path = resources.files("Evaluation.report") / "assets" / name
    return Markup(path.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
