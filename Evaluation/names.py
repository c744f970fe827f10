"""Name runs in legends, tables and videos."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from Algorithm.method_registry import method_title
from Evaluation.table import NOT_GIVEN, Row

_SIZE_PREFIX = "Impaala"
_TITLES = 3  # of a row: task, method, mode
_OFF_VALUES = (NOT_GIVEN, "False", "")  # values of flags that were not given


@dataclass(frozen=True)
class RowName:
    """The name of an experiment, in parts."""

    method: str
    size: str
    settings: tuple[str, ...]  # flags that differ from others of this method and size

    def __str__(self) -> str:
        return ", ".join((self.method, self.size, *self.settings))


def size_name(student: Mapping[str, Any]) -> str:
    """Return the size in a `student` configuration: Small, Mid, Big, State or the paper's."""
    mode = str(student.get("mode", "")).rpartition(":")[2]  # package:Class of the user
    return str(student.get("size") or mode.removeprefix(_SIZE_PREFIX))


def name_rows(rows: Sequence[Row]) -> list[RowName]:
    """Return short, distinct names.

    A name includes the flags by which rows of the same task, method and mode differ, except flags
    that are off. Paths are shortened to the fewest last parts that distinguish them.
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
            if flag != "size" and value not in _OFF_VALUES
            if len(values := {peer.names[flag] for peer in peers}) > 1
        )
        names.append(RowName(method_title(run.method), size_name(run.config["student"]), settings))
    return names


def _setting(flag: str, value: str, values: Collection[str]) -> str:
    if value == "True":
        return flag
    return f"{flag} {_end_of(value, values) if '/' in value else value}"


def _end_of(path: str, paths: Collection[str]) -> str:
    """Return the fewest last parts of a path that no other of these paths ends in."""
    parts = PurePath(path).parts
    others = [PurePath(other).parts for other in paths if other != path]
    for n in range(1, len(parts)):
        if all(other[-n:] != parts[-n:] for other in others):
            return str(PurePath(*parts[-n:]))
    return path
