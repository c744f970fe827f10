"""How commands end: bad input and signals become a message and an exit code, not a traceback."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator

from Common.commands.console import best_effort_console
from Common.commands.signals import Stopped
from Common.errors import EXIT_BAD_INPUT, UserError
from Common.names import check_utf8


def say(message: object) -> None:
    """A line on standard error."""
    print(message, file=sys.stderr)


@functools.cache
def say_once(message: str) -> None:
    """The same, once in this process."""
    say(message)


@contextlib.contextmanager
def exit_with_message(
    after_stop: str = "",
    *,
    complain: Callable[[object], None] = say,
    tell: Callable[[object], None] = say,
) -> Iterator[None]:
    """The body of a command's `main`: a `UserError` in it exits with 2, a signal as shells tell it,
    and what cannot be printed is dropped (see `Common.commands.console`).

    Args:
        after_stop: what goes on where a signal stopped it; a sentence.
        complain: says what was wrong. Of several processes each may be wrong in its own way.
        tell: says that it was stopped. Of several processes all are.
    """
    with best_effort_console():
        try:
            for argument in sys.argv:
                check_utf8(argument, "The argument")
            yield
        except UserError as error:
            complain(error)
            sys.exit(EXIT_BAD_INPUT)
        except Stopped as stop:
            tell(f"\n{stop} {after_stop}".rstrip())
            sys.exit(stop.exit_code)
