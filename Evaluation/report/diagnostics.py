"""Show the diagnostics in the runs' folders as pictures and tables of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from Common.runs.run_folder import CURVES_FILE, DARK
from Evaluation.report.details import run_name, words
from Evaluation.report.entries import Entry
from Evaluation.report.measured import Measurement, measured
from Evaluation.report.media import Media
from Evaluation.report.rows import ReportRow
from Evaluation.report.videos import Video


@dataclass(frozen=True)
class Card:
    """A measurement, a picture, or both."""

    name: str
    title: str
    row: str
    measured: Measurement | None = None
    picture: str | None = None  # path relative to the page
    lacks_picture: bool = False  # whether there is one that cannot be shown
    is_damaged: bool = False
    is_drawn: bool = False  # whether the picture is a plot on white, to be inverted on dark screens
    dark: str | None = None  # the picture for dark screens, if there is another
    is_video: bool = False


def diagnostics(rows: Sequence[ReportRow], media: Media) -> list[Card | Video]:
    """Return pictures and measurements of all runs, with placeholders for damaged files."""
    return [
        shown
        for row in rows
        for entry in row.entries
        for shown in _of_entry(entry, row.id, f"{row.name}: {run_name(entry)}", media)
    ]


def _of_entry(entry: Entry, row: str, title: str, media: Media) -> Iterator[Card | Video]:
    drawn = {path.stem: path for path in entry.pictures if path.suffix == ".png"}
    dark_ones = {stem + DARK for stem in drawn}  # each is shown in place of another
    for path in entry.pictures:
        if path.suffix != ".png":
            yield _video(path, row, title, media)
        elif path.stem not in entry.diagnostics and path.stem not in dark_ones:
            source = media.add(path)
            dark = drawn.get(path.stem + DARK)
            yield Card(
                *(words(path.stem), title, row, None, source, source is None),
                is_drawn=path.name == CURVES_FILE,
                dark=dark and media.add(dark),
            )
    for name, value in entry.diagnostics.items():
        if isinstance(value, str):
            media.problems.append(f"Not shown: {value}")
        measurement = None if isinstance(value, str) else measured(value)
        source = media.add(drawn[name]) if name in drawn else None
        lacks = name in drawn and source is None
        damaged = isinstance(value, str)
        yield Card(words(name), title, row, measurement, source, lacks, damaged, is_drawn=True)


def _video(path: Path, row: str, title: str, media: Media) -> Card | Video:
    source = media.add(path)
    if source is None:
        return Card(words(path.stem), title, row, is_damaged=True)
    return Video(source, words(path.stem), title, row)
