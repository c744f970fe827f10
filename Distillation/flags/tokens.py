"""Flags that nobody typed, of a file or a grid, as the scripts' own parser reads them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from Common.errors import UserError

T = TypeVar("T")


def tokens(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[str, ...]:
    """Flags and their values as a command line has them; None is a flag's default.

    Args:
        values: as YAML has them.
        defaults: of every flag, for the task and the method.

    Raises:
        UserError: a switch is neither true nor false, or another flag is; or there are several
            values. All else is the parser's to judge.
    """
    given = [(flag, value) for flag, value in values.items() if value is not None]
    return tuple(token for flag, value in given for token in _tokens(flag, value, defaults[flag]))


def _tokens(flag: str, value: Any, default: Any) -> tuple[str, ...]:
    if isinstance(value, (list, dict)):
        raise UserError(f"--{flag} has one value, not {value!r}.")
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UserError(f"--{flag} is a switch: give true or false, not {value!r}.")
        # Of a switch there is only the side that is not its default.
        return () if value == default else (f"--{'' if value else 'no_'}{flag}",)
    if isinstance(value, bool):
        raise UserError(
            f"--{flag} is no switch, to be {str(value).lower()}. YAML reads yes, no, on and off "
            "so, too: put what is a name in quotes."
        )
    return (f"--{flag}", str(value))


def typed(arguments: Sequence[str]) -> set[str]:
    """The flags of a command line, without dashes in front; - is _, as the parser takes it."""
    return {a.partition("=")[0][2:].replace("-", "_") for a in arguments if a.startswith("--")}


def said_in_a_line(read: Callable[[], T]) -> T:
    """What `read`, a call of the parser, returns.

    Raises:
        UserError: what the parser has against the flags, where it would have ended the process
            with a page of help.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return read()
    except SystemExit as error:
        raise UserError(_in_a_line(said.getvalue())) from error


def _in_a_line(box: str) -> str:
    """What tyro says of a mistake, without the frame that it draws and its help text."""
    lines = [line.strip(" \t│╭╰╮╯─-") for line in box.splitlines()]
    told = []
    for line in filter(None, lines):
        if line.startswith(("For full helptext", "Argument helptext", "Perhaps you meant")):
            break
        told.append(line)
    return " ".join(told[1:] or told)  # the first is a title
