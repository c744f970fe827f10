"""Select the videos of a report: side by side, one per experiment, worst and best episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Evaluation.report.details import run_name
from Evaluation.report.entries import Entry, Film
from Evaluation.report.media import Media
from Evaluation.report.rows import MEASURES, ReportRow, typeset


@dataclass(frozen=True)
class Video:
    """A video of the page, by its path relative to the page."""

    source: str
    title: str
    note: str
    row: str = ""  # id of its row; empty if it shows several
    is_video: bool = True


def films(found: Sequence[Film], media: Media) -> list[Video]:
    """Return the side-by-side videos of a task."""
    sources = [media.add(film.path) for film in found]
    return [
        Video(source, f"Return on seed {film.seed}. {film.players}", film.command)
        for source, film in zip(sources, found, strict=True)
        if source is not None
    ]


def videos(rows: Sequence[ReportRow], media: Media) -> list[Video]:
    """Return a video per row, if it has one: that of the run with the median score."""
    found = []
    for row in rows:
        entry = _median_run([e for e in row.entries if e.video is not None])
        if entry is None or entry.video is None:
            continue
        source = media.add(entry.video)
        if source is None:
            continue
        several = f", the median of {len(row.entries)} runs" if len(row.entries) > 1 else ""
        found.append(Video(source, str(row.name), run_name(entry) + several, row.id))
    return found


def episodes(rows: Sequence[ReportRow], media: Media) -> list[Video]:
    """Return the worst and best episodes that `Evaluation.gallery` filmed, by row."""
    found = []
    for row in rows:
        for entry in row.entries:
            for episode in entry.episodes:
                source = media.add(episode.path)
                if source is not None:
                    title = f"{episode.kind.capitalize()}: {typeset(episode.outcome)}"
                    note = f"{row.name}: {run_name(entry)}, seed {episode.seed}"
                    found.append(Video(source, title, note, row.id))
    return found


def _median_run(entries: Sequence[Entry]) -> Entry | None:
    for measure in MEASURES:
        scored = [(v, e) for e in entries if (v := measure.of(e.run)) is not None]
        if scored:
            order = np.argsort([value for value, _ in scored], kind="stable")
            return scored[order[(len(scored) - 1) // 2]][1]
    return next(iter(entries), None)
