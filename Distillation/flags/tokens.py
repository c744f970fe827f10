"""Convert flags of a file or a grid into command-line arguments for the parser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from Common.errors import UserError

T = TypeVar("T")


def tokens(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[str, ...]:
    """Return command-line arguments for flags; a value of None stands for the default.

    Args:
        values: YAML values by flag.
        defaults: default values of all flags for the task and the method.

    Raises:
        UserError: a switch has a value other than true or false, another flag has such a value,
            or a flag has several values. The parser checks everything else.
    """
    given = [(flag, value) for flag, value in values.items() if value is not None]
    return tuple(token for flag, value in given for token in _tokens(flag, value, defaults[flag]))


def _tokens(flag: str, value: Any, default: Any) -> tuple[str, ...]:
    if isinstance(value, (list, dict)):
        raise UserError(f"--{flag} has one value, not {value!r}.")
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UserError(f"--{flag} is a switch: give true or false, not {value!r}.")
        # The parser only accepts the side of a switch that differs from the default.
        return () if value == default else (f"--{'' if value else 'no_'}{flag}",)
    if isinstance(value, bool):
        raise UserError(
            f"--{flag} is no switch and cannot be {str(value).lower()}. YAML also reads yes, no, "
            "on and off as true or false: put such names in quotes."
        )
    return (f"--{flag}", str(value))


def typed(arguments: Sequence[str]) -> set[str]:
    """Return the flags in `arguments`, without leading dashes and with _ for -."""
    return {a.partition("=")[0][2:].replace("-", "_") for a in arguments if a.startswith("--")}


def parser_error_as_user_error(read: Callable[[], T]) -> T:
    """Return the result of `read`, a call of the parser.

    Raises:
        UserError: the parser rejected the flags. It would have exited with a page of help.
    """
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return read()
    except SystemExit as error:
        raise UserError(_error_text(stderr.getvalue())) from error


def _error_text(box: str) -> str:
    """Return the error message of tyro in one line, without box and help text."""
    lines = [line.strip(" \t│╭╰╮╯─-") for line in box.splitlines()]
    message = []
    for line in filter(None, lines):
        if line.startswith(("For full helptext", "Argument helptext", "Perhaps you meant")):
            break
        message.append(line)
    return " ".join(message[1:] or message)  # the first line is a title
