"""What runs are called where people read of them: in legends, tables and videos."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from Algorithm.method_registry import method_title
from Evaluation.table import Row

_SIZE_PREFIX = "Impaala"
_TITLES = 3  # of a row: task, method, mode
_UNSAID = ("None", "False", "")  # values of a flag that was not given


@dataclass(frozen=True)
class RowName:
    """One experiment's name, in parts."""

    method: str
    size: str
    settings: tuple[str, ...]  # what tells it from others of this method and size

    def __str__(self) -> str:
        return ", ".join((self.method, self.size, *self.settings))


def size_name(student: Mapping[str, Any]) -> str:
    """Of the `student` group of a configuration: Small, Mid, Big, or the paper's, or State."""
    return str(student.get("size") or str(student.get("mode", "")).removeprefix(_SIZE_PREFIX))


def name_rows(rows: Sequence[Row]) -> list[RowName]:
    """Short names that differ: a flag is named where rows of one task, method and mode differ by
    it. Flags that are off are not, and of paths only as many of the last parts as tell them apart.
    """
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row.names.values())[:_TITLES], []).append(row)
    names = []
    for row in rows:
        peers = alike[tuple(row.names.values())[:_TITLES]]
        run = row.runs[0]
        settings = tuple(
            _setting(flag, value, values)
            for flag, value in list(row.names.items())[_TITLES:]
            if flag != "size" and value not in _UNSAID
            if len(values := {peer.names[flag] for peer in peers}) > 1
        )
        names.append(RowName(method_title(run.method), size_name(run.config["student"]), settings))
    return names


def _setting(flag: str, value: str, values: Collection[str]) -> str:
    if value == "True":
        return flag
    return f"{flag} {_end_of(value, values) if '/' in value else value}"


def _end_of(path: str, paths: Collection[str]) -> str:
    """The last parts of a path, as few as no other of these paths ends in."""
    parts = PurePath(path).parts
    others = [PurePath(other).parts for other in paths if other != path]
    for n in range(1, len(parts)):
        if all(other[-n:] != parts[-n:] for other in others):
            return str(PurePath(*parts[-n:]))
    return path
