"""Run command-line tools, print notes and write JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from Common.commands.exits import exit_with_message, print_line
from Common.commands.progress import progress_shown
from Common.commands.signals import StopSignals
from Common.errors import fields_as_flags
from Common.files.durable import write_file
from Common.lazy import import_name
from Common.openmp import prepare_openmp
from Common.program import as_typed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FlagsT = TypeVar("FlagsT", bound="DataclassInstance")


def run_tool(flags_type: type[FlagsT], module: str, do: str | Callable[[FlagsT], object]) -> None:
    """Run the command `python -m <module>`, with progress on stderr.

    Invalid input ends it with exit code 2 and one message on stderr, a signal with its code.

    Args:
        do: a function of the flags; or its "module:name", which is imported after the flags are
            parsed, so that `--help` and a typo do not wait for torch.
    """
    flags = {field.name: field.name for field in fields(flags_type)}
    with exit_with_message(), progress_shown(), fields_as_flags(flags), StopSignals():
        parsed = tyro.cli(flags_type, prog=as_typed(f"python -m {module}"), use_underscores=True)
        prepare_openmp()
        (import_name(do) if isinstance(do, str) else do)(parsed)


def print_note(text: str) -> None:
    """Print a note on stderr, e.g. on what is omitted and why."""
    print_line(f"Note: {text}")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, and create its parent folders.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON does not support.
        UserError: the file cannot be written.
    """
    write_file(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")
