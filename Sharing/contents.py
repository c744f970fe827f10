"""The files of a student, a teacher and a dataset in a repository of the Hub.

None of them can hold code. A repository with any other kind of file is refused before anything is
downloaded, except for pictures and texts, which are left where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from Common.errors import UserError

Kind = Literal["student", "teacher", "dataset"]
RepoType = Literal["model", "dataset"]

CARD_FILE, VIDEO_FILE, SHEET_FILE = "README.md", "replay.mp4", "contact_sheet.png"
EVALUATION_FILE = "evaluation.json"
DATASETS = "datasets/"  # before the name of a dataset, as in its address

# Bytes. Bundles are bounded as `Models.bundle` bounds them.
_JSON, _WEIGHTS, _MANIFEST, _SHARD = 2**26, 2**30, 2**28, 2**33
_TEXT, _PICTURE, _VIDEO = 2**20, 2**24, 2**28
_HARMLESS = re.compile(
    r"(.*/)?(\.gitattributes|\.gitignore|LICENSE|NOTICE|[^/]*\.(md|txt|png|jpe?g|gif|mp4|csv|json))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Contents:
    """The files of a kind."""

    kind: Kind
    repo_type: RepoType
    head: str  # the file by which a repository is recognized
    needed: Mapping[str, int]  # size in bytes at most, by name
    optional: Mapping[str, int]
    shards: re.Pattern[str] | None = field(default=None)  # names of further files, up to `_SHARD`

    def limit(self, name: str) -> int | None:
        """Return how many bytes a file may have; None if it is not one of this kind."""
        known = {**self.needed, **self.optional}
        if self.shards is not None and self.shards.fullmatch(name):
            return _SHARD
        return known.get(name)

    def check(self, where: str, sizes: Mapping[str, int | None]) -> list[str]:
        """Return the files to download, of all files of a repository with their sizes.

        Raises:
            UserError: a file is missing, too large, or not one that this kind has.
        """
        if missing := [name for name in self.needed if name not in sizes]:
            raise UserError(
                f"{where} has no {' and no '.join(missing)}: it is not a complete {self.kind}."
            )
        refuse_strangers(where, self.kind, (name for name in sizes if self.limit(name) is None))
        wanted = [name for name in sorted(sizes) if self.limit(name) is not None]
        for name in wanted:
            size, limit = sizes[name], self.limit(name) or 0
            if size is None or size > limit:
                raise UserError(
                    f"{where}: {name} has {'an unknown number of' if size is None else size} bytes,"
                    f" more than the {limit} of a {self.kind}. Nothing was downloaded."
                )
        return wanted


_BESIDES = {CARD_FILE: _TEXT, EVALUATION_FILE: _TEXT, VIDEO_FILE: _VIDEO}


def _bundle(kind: Literal["student", "teacher"]) -> Contents:
    head = f"{kind}.json"
    return Contents(
        kind, "model", head, {head: _JSON, f"{kind}.safetensors": _WEIGHTS}, dict(_BESIDES)
    )


CONTENTS: dict[Kind, Contents] = {
    "student": _bundle("student"),
    "teacher": _bundle("teacher"),
    "dataset": Contents(
        "dataset",
        "dataset",
        "manifest.json",
        {"manifest.json": _MANIFEST},
        {CARD_FILE: _TEXT, SHEET_FILE: _PICTURE},
        re.compile(r"shard_\d{5}\.safetensors"),
    ),
}


def kind_in(where: str, names: Iterable[str], repo_type: RepoType) -> Contents:
    """Return the kind that a repository holds, by the names of its files.

    Raises:
        UserError: it holds none, or several.
    """
    present = set(names)
    found = [c for c in CONTENTS.values() if c.repo_type == repo_type and c.head in present]
    if len(found) == 1:
        return found[0]
    heads = [c.head for c in CONTENTS.values() if c.repo_type == repo_type]
    listed = ", ".join(sorted(present)[:10]) or "nothing"
    raise UserError(
        f"{where} holds {'several of' if found else 'none of'} {', '.join(heads)}, but {listed}. "
        f"It was not pushed by this toolkit{'' if found else ', or its name is another'}."
    )


def refuse_strangers(where: str, kind: Kind, names: Iterable[str]) -> None:
    """Raise UserError for files that could hold code, such as pickles; list them."""
    strangers = sorted(name for name in names if not _is_harmless(name))
    if strangers:
        listed = ", ".join(map(repr, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise UserError(
            f"{where} holds {listed}, which a {kind} never has and which could hold code. Nothing "
            "was downloaded or changed. Ask its owner to remove it, or use another repository."
        )


def _is_harmless(name: str) -> bool:
    return _HARMLESS.fullmatch(name) is not None and ".." not in PurePosixPath(name).parts
