"""What the command-line tools of this folder have in common."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import tyro

from Enviroment.durable import write_file
from Enviroment.errors import EXIT_BAD_INPUT, UserError

FlagsT = TypeVar("FlagsT")


def run_tool(flags_type: type[FlagsT], module: str, do: Callable[[FlagsT], object]) -> None:
    """The command `python -m <module>`.

    Bad input ends it with exit code 2 and one message on stderr.
    """
    try:
        do(tyro.cli(flags_type, prog=f"python -m {module}", use_underscores=True))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def note(text: str) -> None:
    """Says on stderr what is left out, or not as usual, and why."""
    print(f"Note: {text}", file=sys.stderr)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replaces a JSON file, and makes the folders above it.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(value, indent=1).encode() + b"\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Torch computes with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
