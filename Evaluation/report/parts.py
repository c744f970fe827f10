"""Parts of a report's page: videos, and what each run was. All text is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from Evaluation.report.entries import Entry, Film
from Evaluation.report.media import Media
from Evaluation.report.rows import MEASURES, ReportRow, figure

_BULKY = ("config", "command", "versions", "teacher_sha256", "git_sha", "sha256", "actions")


def films(found: Sequence[Film], media: Media) -> str:
    """Side-by-side videos of a task."""
    parts = []
    for film in found:
        source = media.add(film.path)
        if source is not None:
            caption = f"Return on seed {film.seed}. {film.players}"
            parts.append(video(source, caption, film.command, "media film"))
    return "\n".join(parts)


def videos(rows: Sequence[ReportRow], media: Media) -> str:
    """A video of each row that has one: of the run whose score is the median."""
    parts = []
    for row in rows:
        entry = _median_run([e for e in row.entries if e.video is not None])
        if entry is None or entry.video is None:
            continue
        source = media.add(entry.video)
        if source is None:
            continue
        which = "shipped student"
        if not entry.shipped:
            which = f"run_index {entry.run.run_index}"
            which += f", the median of {len(row.entries)} runs" if len(row.entries) > 1 else ""
        parts.append(video(source, str(row.name), which, "media", row.id))
    return "\n".join(parts)


def _median_run(entries: Sequence[Entry]) -> Entry | None:
    if not entries:
        return None
    for measure in MEASURES:
        scored = [(v, e) for e in entries if (v := figure(e.run, measure)) is not None]
        if scored:
            order = np.argsort([value for value, _ in scored], kind="stable")
            return scored[order[(len(scored) - 1) // 2]][1]
    return entries[0]


def video(source: str, title: str, note: str, kind: str, row: str | None = None) -> str:
    """A video of the page, by its address there."""
    belongs = "" if row is None else f' data-row="{row}"'
    label = escape(f"Video: {title}")
    return (
        f'<figure class="{kind}"{belongs}><video controls muted playsinline preload="metadata" '
        f'src="{source}#t=0.1" aria-label="{label}"></video>'
        f'<figcaption><strong>{escape(title)}</strong><span class="quiet">{escape(note)}</span>'
        "</figcaption></figure>"
    )


def run_details(row: ReportRow) -> str:
    """What each run of a row was: command, hashes, configuration, versions."""
    head = f'<details class="run" id="{row.id}" data-row="{row.id}"><summary>'
    name = f"<strong>{escape(str(row.name))}</strong>"
    if len(row.entries) == 1:
        summary, body = _details(row.entries[0])
        return f"{head}{name}, {summary}</summary>{body}</details>"
    runs = "\n".join(
        f'<details class="run"><summary>{summary}</summary>{body}</details>'
        for summary, body in map(_details, row.entries)
    )
    return (
        f'{head}{name}, {len(row.entries)} runs</summary><div class="body">{runs}</div></details>'
    )


def _details(entry: Entry) -> tuple[str, str]:
    """Summary and body of one run."""
    run = entry.run
    cut = '<span class="pill cut">cut short or under way</span>'
    state = "" if run.figures is not None else cut
    score = next((f"{m} {v:.3g}" for m in MEASURES if (v := figure(run, m)) is not None), "")
    origin = {
        "folder": str(run.folder),
        "student SHA-256": entry.student_sha256,
        "teacher SHA-256": run.teacher_sha256,
        "git": entry.described.get("git_sha"),
    }
    command = ""
    if run.command:
        command = f'<pre class="command">{escape(run.command)}</pre>'
    settings = run.config if not entry.shipped else {"student": entry.described.get("config", {})}
    groups = {k: v for k, v in settings.items() if isinstance(v, dict)}
    groups |= {k: v for k, v in entry.described.items() if isinstance(v, dict) and k not in _BULKY}
    versions = entry.described.get("versions")
    if isinstance(versions, dict):
        groups["versions"] = versions
    boxes = "".join(
        f"<div><h5>{escape(words(name))}</h5>{facts(group)}</div>" for name, group in groups.items()
    )
    summary = f'{escape(run_name(entry))} <span class="quiet">{escape(score)}</span> {state}'
    return summary, (
        f'<div class="body">{command}{facts(origin)}<div class="groups">{boxes}</div></div>'
    )


def run_name(entry: Entry) -> str:
    """What tells a run from the others of its row."""
    return "shipped student" if entry.shipped else f"run_index {entry.run.run_index}"


def facts(values: Mapping[str, Any]) -> str:
    """Names and values; null is left out."""
    items = "".join(
        f"<dt>{escape(words(name))}</dt><dd>{escape(text_of(value))}</dd>"
        for name, value in values.items()
        if value is not None
    )
    return f'<dl class="facts">{items}</dl>'


def words(name: str) -> str:
    """A key as people write it."""
    return name.replace("_", " ")


def text_of(value: Any) -> str:
    """A value of JSON, short; not escaped."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)
