"""Words for people: counts, durations, and commands to copy."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from Common.places import ROOT
from Common.program import NAME, by_console, console_name


def short_count(number: int) -> str:
    """Return a number in at most four digits, such as `850`, `25k`, `25.3k` and `1.2M`."""
    for size, letter in ((1, ""), (1_000, "k"), (1_000_000, "M")):
        scaled = number / size
        digits = 1 if size > 1 and scaled < 99.95 else 0
        if (rounded := round(scaled, digits)) < 1_000:
            return f"{rounded:g}{letter}"
    return f"{number / 1_000_000:,.0f}M"


def duration(seconds: float) -> str:
    """Return a time to the precision that a person needs, such as `40 s` and `1 h 20 min`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def aligned(lines: Mapping[str, str]) -> str:
    """Return one line per name, with its text in a second column."""
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines.items())


def shown_path(path: Path | str) -> str:
    """Return a path as short as it can be typed here: relative if it is below this directory."""
    try:
        return str(Path(path).absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def typed_command(words: Sequence[str]) -> str:
    """Return a command of this package as it can be typed in this directory.

    Args:
        words: `python`, then `-m` and a module, or a script relative to the checkout.
    """
    python, *rest = words
    assert python == "python"
    if by_console():
        with contextlib.suppress(KeyError):  # of a script of the user's own
            name, arguments = console_name(rest)
            return shlex.join([*_console_program(), name, *arguments])
    on_path = shutil.which("python")
    if on_path is None or not _is_same(on_path, sys.executable):
        python = shown_path(sys.executable)
    if rest[0] != "-m":
        rest[0] = shown_path(ROOT / rest[0])
    return shlex.join([python, *rest])


def _console_program() -> list[str]:
    """Return the words that start the console command of this interpreter, by name on PATH."""
    program, on_path = Path(sys.executable).with_name(NAME), shutil.which(NAME)
    if on_path is not None and _is_same(on_path, sys.executable):
        return [NAME]
    if program.is_file():
        return [shown_path(program)]
    return [shown_path(sys.executable), "-m", "vision_distillation"]


def _is_same(one: str, other: str) -> bool:
    """Return whether two interpreters share an environment: one folder of programs."""
    return os.path.dirname(one) == os.path.dirname(other)
