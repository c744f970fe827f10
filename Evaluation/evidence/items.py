"""Read `Results/evidence.yaml`, and the tables and figures of the pages that it lists."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.bounded_read import file_sha256, read_bounded
from Common.files.typed_json import typed, typed_fields
from Common.files.yaml_file import read_mapping

EVIDENCE_FILE = Path("Results/evidence.yaml")
_MAX_PAGE = 2**22  # bytes
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)#]+)\)")
_RULE = re.compile(r"\|[-:| ]+\|")


@dataclass(frozen=True)
class Item:
    """The tables of a section, or one figure, and where their numbers are from."""

    page: str
    section: str  # its heading; "*": the whole page
    command: str  # which made the data, or which draws them
    figure: str = ""  # path; otherwise the item is the tables of the section
    data: list[str] = field(default_factory=list)  # files and folders; none: not kept
    # The command needs only the data, so that it can be repeated at once. The output of a table's
    # command is part of the page.
    redraws: bool = False
    # Columns of the page that identify a row of a CSV file, and their columns there.
    rows: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of a cell of `rows`, in the CSV file
    # Columns of the page, and the columns of the CSV file whose mean over runs they show.
    means: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)  # likewise, but a value per run

    @property
    def title(self) -> str:
        """Return what the item is, for lists and messages."""
        return self.figure or f"{self.page}: {self.section}"


@dataclass(frozen=True)
class PageTable:
    """A table of a page: its cells, without emphasis and code marks."""

    section: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_items(root: Path) -> list[Item]:
    """Return the items of the list.

    Raises:
        UserError: the list cannot be read, or an item has an unknown or a missing key.
    """
    path = root / EVIDENCE_FILE
    content = read_mapping(path, f"The list {path}", wrong_form="is not YAML", holds="items")
    names = {f.name for f in dataclasses.fields(Item)}
    items = []
    for number, given in enumerate(content.get("items") or (), start=1):
        try:
            values = typed(dict[str, Any], given, f"item {number}")
            if unknown := values.keys() - names:
                raise ValueError(f"item {number} has no key {', '.join(sorted(unknown))}")
            item = Item(**typed_fields(Item, values))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}, item {number}: {error}.") from None
        items.append(item)
    return items


def data_hash(root: Path, item: Item) -> str:
    """Return the SHA-256 over the names and contents of an item's data, or "" without data.

    Raises:
        UserError: the data do not exist.
    """
    if not item.data:
        return ""
    digest = hashlib.sha256()
    for name in item.data:
        files = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*"))
        files = [path for path in files if path.is_file()]
        if not files:
            raise UserError(f"{item.title}: there are no data at {name}.")
        for path in files:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()


def read_page(path: Path) -> str:
    """Return the text of a page.

    Raises:
        UserError: the page cannot be read.
    """
    try:
        return read_bounded(path, _MAX_PAGE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def page_tables(text: str) -> Iterator[PageTable]:
    """Yield the tables of a page in Markdown, with the section of each."""
    section, lines = "", text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            section = line.lstrip("# ").strip()
        if _RULE.fullmatch(line.strip()) and number and lines[number - 1].startswith("|"):
            rows = []
            for below in lines[number + 1 :]:
                if not below.startswith("|"):
                    break
                rows.append(_cells(below))
            yield PageTable(section, _cells(lines[number - 1]), tuple(rows))


def page_figures(page: Path, text: str, root: Path) -> list[str]:
    """Return the paths of a page's figures, relative to the repository."""
    found = []
    for link in _IMAGE.findall(text):
        if "://" not in link:
            found.append((page.parent / link).resolve().relative_to(root.resolve()).as_posix())
    return found


def _cells(line: str) -> tuple[str, ...]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return tuple(re.sub(r"\*\*|`", "", cell).strip() for cell in cells)
