"""Read flags from a YAML or JSON file (`--config FILE`)."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.yaml_file import read_mapping
from Distillation.flags.names import CUSTOM_FLAGS

# They decide which flags there are, and are read before the file.
_TASK_FLAGS = ("env", *CUSTOM_FLAGS)


def read_flag_file(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Return the flags of a file and their YAML values, which the parser checks later.

    Args:
        known: names of all flags.

    Raises:
        UserError: the file cannot be read, is not a mapping, or contains an unknown flag.
    """
    values = read_mapping(
        path,
        f"--config {path}",
        wrong_form="is neither YAML nor JSON",
        holds="flags and their values, `mode: State`",
    )
    if unknown := [_with_hint(str(name), known) for name in values if name not in known]:
        raise UserError(f"{path}: there is no flag: {', '.join(unknown)}.")
    if "config" in values:
        raise UserError(f"{path}: --config cannot be nested. Write the flags of that file here.")
    return values


def _with_hint(name: str, flags: Collection[str]) -> str:
    if name in _TASK_FLAGS:
        return f"{name} (it defines the task: give --{name} on the command line)"
    positive = name.removeprefix("no_")
    if positive != name and positive in flags:
        return f"{name} (write `{positive}: false`)"
    near = difflib.get_close_matches(name, flags, n=1)
    return f"{name} (did you mean {near[0]}?)" if near else name
