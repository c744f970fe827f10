"""Select what a report shows of runs: videos, worst and best episodes, diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from Common.names import counted
from Common.runs.run_folder import CURVES_FILE, DARK
from Evaluation.report.entries import Entry, Film
from Evaluation.report.measured import Measurement, measured, words
from Evaluation.report.media import Media
from Evaluation.report.rows import MEASURES, ReportRow


@dataclass(frozen=True)
class Shown:
    """A video; or a measurement, a picture, or both. Paths are relative to the page."""

    title: str
    note: str
    row: str = ""  # id of its row; empty if it shows several
    video: str | None = None
    picture: str | None = None
    dark: str | None = None  # the picture for dark screens, if there is another
    measured: Measurement | None = None
    lacks_picture: bool = False  # whether there is one that cannot be shown
    is_damaged: bool = False
    is_drawn: bool = False  # whether the picture is a plot on white, to be inverted on dark screens


def films(found: Sequence[Film], media: Media) -> list[Shown]:
    """Return the side-by-side videos of a task."""
    return [
        Shown(film.title, film.note, video=source)
        for film in found
        if (source := media.add(film.path)) is not None
    ]


def videos(rows: Sequence[ReportRow], media: Media) -> list[Shown]:
    """Return a video per row, if it has one: that of the run with the median score of these."""
    found = []
    for row in rows:
        filmed = [entry for entry in row.entries if entry.video is not None]
        entry = _median_run(filmed)
        if entry is not None and entry.video is not None and (source := media.add(entry.video)):
            note = entry.name + _among(len(filmed), len(row.entries))
            found.append(Shown(str(row.name), note, row.id, source))
    return found


def _among(n_filmed: int, n_runs: int) -> str:
    """Return of which runs a video's is the median."""
    if n_runs == 1:
        return ""
    if n_filmed == n_runs:
        return f", the median of {n_runs} runs"
    return f", the median of the {counted(n_filmed, 'run')} of {n_runs} with a video"


def _median_run(entries: Sequence[Entry]) -> Entry | None:
    for measure in MEASURES:
        scored = [(v, e) for e in entries if (v := measure.of(e.run)) is not None]
        if scored:
            order = np.argsort([value for value, _ in scored], kind="stable")
            return scored[order[(len(scored) - 1) // 2]][1]
    return next(iter(entries), None)


def episodes(rows: Sequence[ReportRow], media: Media) -> list[Shown]:
    """Return the worst and best episodes that `Evaluation.gallery` filmed, by row."""
    return [
        Shown(film.title, f"{row.name}: {entry.name}, {film.note}", row.id, source)
        for row in rows
        for entry in row.entries
        for film in entry.episodes
        if (source := media.add(film.path)) is not None
    ]


def diagnostics(rows: Sequence[ReportRow], media: Media) -> list[Shown]:
    """Return pictures and measurements of all runs, with placeholders for damaged files."""
    return [
        shown
        for row in rows
        for entry in row.entries
        for shown in _diagnostics(entry, (f"{row.name}: {entry.name}", row.id), media)
    ]


def _diagnostics(entry: Entry, of: tuple[str, str], media: Media) -> Iterator[Shown]:
    pictures, values = entry.pictures, entry.diagnostics
    drawn = {path.stem: path for path in pictures if path.suffix == ".png"}
    dark_ones = {stem + DARK for stem in drawn}  # each is shown in place of another
    for path in pictures:
        title = words(path.stem)
        if path.suffix != ".png":
            source = media.add(path)
            yield Shown(title, *of, source, is_damaged=source is None)
        elif path.stem not in values and path.stem not in dark_ones:
            source, dark = media.add(path), drawn.get(path.stem + DARK)
            yield Shown(
                *(title, *of),
                picture=source,
                dark=dark and media.add(dark),
                lacks_picture=source is None,
                is_drawn=path.name == CURVES_FILE,
            )
    for name, value in values.items():
        if isinstance(value, str):
            media.problems.append(f"Not shown: {value}")
        source = media.add(drawn[name]) if name in drawn else None
        yield Shown(
            *(words(name), *of),
            picture=source,
            measured=None if isinstance(value, str) else measured(value),
            lacks_picture=name in drawn and source is None,
            is_damaged=isinstance(value, str),
            is_drawn=True,
        )
