"""`--config FILE`: flags from a YAML or JSON file."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.yaml_file import read_mapping


def read_flag_file(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Flags and their values, which are what YAML makes of them: the parser judges them.

    Args:
        known: every flag.

    Raises:
        UserError: the file cannot be read, is no mapping, or names what is no flag.
    """
    values = read_mapping(
        path,
        f"--config {path}",
        wrong_form="is neither YAML nor JSON",
        holds="flags and their values, `mode: State`",
    )
    if unknown := [_with_hint(str(name), known) for name in values if name not in known]:
        raise UserError(f"{path} names what is no flag: {', '.join(unknown)}.")
    if "config" in values:
        raise UserError(f"{path}: config would be a file within a file. Write its flags here.")
    return values


def _with_hint(name: str, flags: Collection[str]) -> str:
    near = difflib.get_close_matches(name, flags, n=1)
    return f"{name} (did you mean {near[0]}?)" if near else name
