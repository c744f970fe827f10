"""Compute the numbers of tables again from their data, and compare them with the pages."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from Common.errors import UserError
from Common.files.durable import writing
from Evaluation.evidence.items import Item, PageTable, page_figures, page_tables, read_page

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.(\d+))?(%?)")
_GREY_LEVELS = 2.0  # mean difference of two drawings of a figure; other fonts differ by more


def unlisted(root: Path, items: Sequence[Item]) -> list[str]:
    """Return the tables and figures of the pages of results that no item covers."""
    missing = []
    for path in sorted((root / "Results").rglob("*.md")):
        page = path.relative_to(root).as_posix()
        text = read_page(root / page)
        of_page = [item for item in items if item.page == page]
        figures = {item.figure for item in of_page}
        missing += [f for f in page_figures(root / page, text, root) if f not in figures]
        sections = {item.section for item in of_page if not item.figure}
        tables = {table.section for table in page_tables(text)}
        if "*" not in sections:
            missing += [f"{page}: {section}" for section in sorted(tables - sections)]
    return missing


def wrong_numbers(root: Path, item: Item) -> Iterator[str]:
    """Yield a message per cell that differs from the data.

    Raises:
        UserError: the item's columns are not those of a table in its section, or of its data.
    """
    if not item.means and not item.runs:
        return
    tables = [t for t in page_tables(read_page(root / item.page)) if t.section == item.section]
    needed = {*item.rows, *item.means, *item.runs}
    table = next((t for t in tables if needed <= set(t.titles)), None)
    if table is None:
        raise UserError(f"{item.title}: no table has the columns {', '.join(sorted(needed))}.")
    with (root / item.data[0]).open(newline="") as file:
        records = list(csv.DictReader(file))
    n_compared = 0
    for cells in _filled(table, item):
        alike = [r for r in records if all(r[c] == cells[t] for t, c in item.rows.items())]
        if not alike:
            continue  # a row of something else, such as the teacher
        for title, column in {**item.means, **item.runs}.items():
            values = [float(r[column]) for r in alike]
            shown = cells[title].split(", ") if title in item.runs else [cells[title]]
            expected = values if title in item.runs else [float(np.mean(values))]
            n_compared += 1
            if " to " in cells[title]:
                continue  # an interval over seeds in place of several runs
            if len(shown) != len(expected) or not all(map(shows, shown, expected)):
                names = " ".join(cells[t] for t in item.rows)
                yield f"{item.title}, {names}, {title}: {cells[title]}, but the data have " + (
                    ", ".join(f"{value:.4f}" for value in expected)
                )
    if not n_compared:
        raise UserError(f"{item.title}: no row of the table is in {item.data[0]}.")


def shows(text: str, value: float) -> bool:
    """Return whether a cell is this value, rounded to the digits of the cell."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return False
    decimals = len(match[1] or "")
    number = float(text.rstrip("%").replace(",", ""))
    scale = 100.0 if match[2] else 1.0
    # A half at the last digit may round either way.
    return abs(number - value * scale) <= 0.5 * 10**-decimals + 1e-9


def repeat(root: Path, item: Item, folder: Path) -> str:
    """Run an item's command again, and return how its result differs from the repository's, or "".

    Args:
        folder: where figures are drawn.

    Raises:
        UserError: the folder cannot be made.
    """
    words = shlex.split(item.command)
    if item.figure:
        words[words.index("--output") + 1] = str((folder / Path(item.figure).name).resolve())
        with writing(f"--redraw {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"{item.title}: {item.command} failed: {done.stderr.strip()[-500:]}"
    if item.figure:
        return _compare(root / item.figure, folder / Path(item.figure).name)
    if done.stdout.strip() in read_page(root / item.page):
        return ""
    return f"{item.title}: the output of `{item.command}` is not in {item.page}:\n{done.stdout}"


def _compare(old: Path, new: Path) -> str:
    from imageio.v3 import imread

    before, after = imread(old), imread(new)
    if before.shape != after.shape:
        return f"{old} has {before.shape} pixels, drawn again {after.shape}."
    difference = float(np.abs(before.astype(float) - after).mean())
    return "" if difference <= _GREY_LEVELS else f"{old} differs by {difference:.1f} grey levels."


def _filled(table: PageTable, item: Item) -> Iterator[Mapping[str, str]]:
    """Yield rows by title. An empty cell that identifies the row repeats the one above."""
    above: dict[str, str] = {}
    for row in table.rows:
        cells = dict(zip(table.titles, row, strict=True))
        for title in item.rows:
            cells[title] = cells[title] or above.get(title, "")
            above[title] = cells[title]
            cells[title] = item.names.get(cells[title], cells[title])
        yield cells
