"""Diagnostics on a report's page: what tools left in the runs' folders, as pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from Evaluation.report.entries import Entry
from Evaluation.report.measured import DAMAGED, measured
from Evaluation.report.media import Media
from Evaluation.report.parts import run_name, video, words
from Evaluation.report.rows import ReportRow


def diagnostics(rows: Sequence[ReportRow], media: Media) -> str:
    """Pictures and measurements of all runs; what is damaged is named in its place."""
    return "\n".join(
        part
        for row in rows
        for entry in row.entries
        for part in _of_entry(entry, row.id, f"{row.name}: {run_name(entry)}", media)
    )


def _of_entry(entry: Entry, row: str, title: str, media: Media) -> list[str]:
    drawn = {path.stem: path for path in entry.pictures if path.suffix == ".png"}
    parts = [
        _seen(path, row, title, media)
        for path in entry.pictures
        if path.suffix != ".png" or path.stem not in entry.diagnostics
    ]
    for name, value in entry.diagnostics.items():
        if isinstance(value, str):
            pill, body = DAMAGED, ""
            media.problems.append(f"Not shown: {value}")
        else:
            pill, body = measured(value)
        if name in drawn:  # with its numbers
            body = _picture(drawn[name], title, media) + body
        parts.append(_card(name, pill, body, row, title))
    return parts


def _seen(path: Path, row: str, title: str, media: Media) -> str:
    """A video or picture that has no numbers."""
    if path.suffix == ".png":
        return _card(path.stem, "", _picture(path, title, media), row, title)
    source = media.add(path)
    if source is None:
        return _card(path.stem, DAMAGED, "", row, title)
    return video(source, words(path.stem), title, "media", row)


def _picture(path: Path, title: str, media: Media) -> str:
    source = media.add(path)
    if source is None:
        return f'<p class="verdict">The picture is not shown {DAMAGED}</p>'
    label = escape(f"{words(path.stem)}, {title}")
    return f'<img loading="lazy" src="{source}" alt="{label}">'


def _card(name: str, pill: str, body: str, row: str, title: str) -> str:
    return (
        f'<figure class="media wide" data-row="{row}"><figcaption><strong>'
        f'{escape(words(name))} {pill}</strong><span class="quiet">{escape(title)}</span>'
        f"</figcaption>{body}</figure>"
    )
