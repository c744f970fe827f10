"""What the command-line tools of this folder have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from Common.commands.exits import exit_with_message, print_line
from Common.commands.progress import progress_shown
from Common.errors import fields_as_flags
from Common.files.durable import write_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FlagsT = TypeVar("FlagsT", bound="DataclassInstance")


def run_tool(flags_type: type[FlagsT], module: str, do: Callable[[FlagsT], object]) -> None:
    """The command `python -m <module>`.

    Bad input ends it with exit code 2 and one message on stderr, which shows its progress, too.
    """
    flags = {field.name: field.name for field in fields(flags_type)}
    with exit_with_message(), progress_shown(), fields_as_flags(flags):
        do(tyro.cli(flags_type, prog=f"python -m {module}", use_underscores=True))


def print_note(text: str) -> None:
    """Says on stderr what is left out, or not as usual, and why."""
    print_line(f"Note: {text}")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replaces a JSON file, and makes the folders above it.

    Raises:
        ValueError: it holds NaN or infinity, which JSON has not.
        UserError: it cannot be written.
    """
    write_file(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")
