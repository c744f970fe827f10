"""Turn bad input and signals into a message and an exit code instead of a traceback."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator

from Common.commands.console import best_effort_console
from Common.commands.signals import Stopped
from Common.errors import EXIT_BAD_INPUT, UserError
from Common.names import check_utf8


def print_line(message: object) -> None:
    """Print a line on standard error."""
    print(message, file=sys.stderr)


@functools.cache
def print_once(message: str) -> None:
    """Print a line on standard error, once per process."""
    print_line(message)


@contextlib.contextmanager
def exit_with_message(
    after_stop: str = "",
    *,
    print_error: Callable[[object], None] = print_line,
    print_stop: Callable[[object], None] = print_line,
) -> Iterator[None]:
    """Wrap the body of a command's `main`.

    A `UserError` exits with code 2, a signal with 128 plus its number. Output that cannot be
    printed is dropped (see `Common.commands.console`).

    Args:
        after_stop: a sentence that says how to continue after a signal.
        print_error: prints a `UserError`. Each of several processes may have its own.
        print_stop: prints that a signal stopped the command. A signal stops all processes.
    """
    with best_effort_console():
        try:
            for argument in sys.argv:
                check_utf8(argument, "The argument")
            yield
        except UserError as error:
            print_error(error)
            sys.exit(EXIT_BAD_INPUT)
        except KeyboardInterrupt as error:  # Ctrl-C also where no `StopSignals` are in place
            stop = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
            print_stop(f"\n{stop} {after_stop}".rstrip())
            sys.exit(stop.exit_code)
