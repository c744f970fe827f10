"""Parts of a report's page: videos, diagnostics, and what each run was. All text is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from Evaluation.report_entries import Entry, Film
from Evaluation.report_rows import MEASURES, ReportRow, figure

_LARGEST = 50 * 2**20  # bytes of a file that is copied beside the page
_WIDEST = 12  # columns of a table of diagnostics
_BULKY = ("config", "command", "versions", "teacher_sha256", "git_sha", "sha256", "actions")


class Media:
    """Files that the page shows, copied beside it under names of our own."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self._folder, self._problems = folder, problems
        self._names: dict[Path, str] = {}

    def add(self, path: Path) -> str | None:
        """The copy's address in the page; None, and a problem, where it cannot be copied."""
        known = self._names.get(path)
        if known is not None:
            return known
        try:
            size = path.stat().st_size
            if not 0 < size <= _LARGEST:
                self._problems.append(f"Not shown: {path} has {size:,} bytes.")
                return None
            content = path.read_bytes()
        except OSError as error:
            self._problems.append(f"Not shown: {path}: {error.strerror}.")
            return None
        self._folder.mkdir(exist_ok=True)
        name = f"{self._folder.name}/{len(self._names) + 1:03d}{path.suffix.lower()}"
        (self._folder.parent / name).write_bytes(content)
        self._names[path] = name
        return name


def films(found: Sequence[Film], media: Media) -> str:
    """Side-by-side videos of a task."""
    parts = []
    for film in found:
        source = media.add(film.path)
        if source is not None:
            caption = f"Return on seed {film.seed}. {film.players}"
            parts.append(_video(source, caption, film.command, "media film"))
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
        parts.append(_video(source, str(row.name), which, "media", row.id))
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


def _video(source: str, title: str, note: str, kind: str, row: str | None = None) -> str:
    belongs = "" if row is None else f' data-row="{row}"'
    label = escape(f"Video: {title}")
    return (
        f'<figure class="{kind}"{belongs}><video controls muted playsinline preload="metadata" '
        f'src="{source}#t=0.1" aria-label="{label}"></video>'
        f'<figcaption><strong>{escape(title)}</strong><span class="quiet">{escape(note)}</span>'
        "</figcaption></figure>"
    )


def diagnostics(rows: Sequence[ReportRow], media: Media) -> str:
    """Pictures and measurements that other tools left in the runs' `diagnostics` folders."""
    parts = []
    for row in rows:
        for entry in row.entries:
            title = f"{row.name}: {_run_name(entry)}"
            for path in entry.pictures:
                source = media.add(path)
                if source is not None:
                    parts.append(_picture(source, path.stem.replace("_", " "), title, row.id))
            for name, value in entry.diagnostics.items():
                parts.append(
                    f'<figure class="media wide" data-row="{row.id}"><figcaption><strong>'
                    f"{escape(name.replace('_', ' '))}</strong>"
                    f'<span class="quiet">{escape(title)}</span></figcaption>'
                    f"{_measured(value)}</figure>"
                )
    return "\n".join(parts)


def _picture(source: str, what: str, title: str, row: str) -> str:
    if source.endswith(".mp4"):
        return _video(source, what, title, "media", row)
    return (
        f'<figure class="media wide" data-row="{row}"><img loading="lazy" src="{source}" '
        f'alt="{escape(f"{what}, {title}")}"><figcaption><strong>{escape(what)}</strong>'
        f'<span class="quiet">{escape(title)}</span></figcaption></figure>'
    )


def _measured(value: Mapping[str, Any]) -> str:
    """JSON of a shape that is not known here: a table of what is one, and facts."""
    facts = {k: v for k, v in value.items() if not isinstance(v, dict | list)}
    parts = [_facts(facts)] if facts else []
    tables = {k: v for k, v in value.items() if isinstance(v, dict)}
    flat = {
        k: v for k, v in tables.items() if not any(isinstance(x, dict | list) for x in v.values())
    }
    columns = list(dict.fromkeys(name for row in flat.values() for name in row))
    if flat and len(columns) <= _WIDEST:
        head = "".join(f'<th scope="col">{escape(_words(c))}</th>' for c in columns)
        body = "".join(
            f'<tr><th scope="row">{escape(_words(name))}</th>'
            + "".join(f"<td>{escape(_text(row.get(c)))}</td>" for c in columns)
            + "</tr>"
            for name, row in flat.items()
        )
        parts.append(
            '<div class="scroll" tabindex="0" role="group" aria-label="Measurements">'
            f'<table class="measured"><thead><tr><th scope="col"></th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
        tables = {k: v for k, v in tables.items() if k not in flat}
    rest = tables | {k: v for k, v in value.items() if isinstance(v, list)}
    if rest:
        text = escape(json.dumps(rest, indent=1))
        parts.append(
            f'<details class="measured"><summary>Numbers</summary><pre class="json">{text}</pre>'
            "</details>"
        )
    return "".join(parts)


def _nests(value: Mapping[str, Any]) -> bool:
    return any(isinstance(item, dict | list) for item in value.values())


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
    facts = {
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
        f"<div><h5>{escape(_words(name))}</h5>{_facts(group)}</div>"
        for name, group in groups.items()
    )
    summary = f'{escape(_run_name(entry))} <span class="quiet">{escape(score)}</span> {state}'
    return summary, (
        f'<div class="body">{command}{_facts(facts)}<div class="groups">{boxes}</div></div>'
    )


def _run_name(entry: Entry) -> str:
    return "shipped student" if entry.shipped else f"run_index {entry.run.run_index}"


def _facts(values: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(_words(name))}</dt><dd>{escape(_text(value))}</dd>"
        for name, value in values.items()
        if value is not None
    )
    return f'<dl class="facts">{items}</dl>'


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)
