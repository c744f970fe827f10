"""Best-effort standard output and error: no command fails because its output cannot be written.

A pipe may have lost its reader (`| head -1`), a disk may be full, a descriptor closed, a character
missing from the terminal's encoding. Text that cannot be written is dropped; the command continues.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

_DESCRIPTORS = {"stdout": 1, "stderr": 2}


@contextlib.contextmanager
def best_effort_console() -> Iterator[None]:
    """Keep `sys.stdout` and `sys.stderr` from raising inside the block; flush both at its end."""
    before = {name: getattr(sys, name) for name in _DESCRIPTORS}
    ours = protect_console()
    try:
        yield
    finally:
        for name, stream in ours.items():
            stream.flush()
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


def protect_console() -> dict[str, BestEffort]:
    """Keep `sys.stdout` and `sys.stderr` from raising from now on, for worker processes.

    Returns: the new streams by their names in `sys`.
    """
    streams = {}
    for name, number in _DESCRIPTORS.items():
        _occupy(number)
        stream = getattr(sys, name)
        streams[name] = stream if isinstance(stream, BestEffort) else BestEffort(stream)
        setattr(sys, name, streams[name])
    return streams


class BestEffort:
    """A text stream that drops text it cannot write. Everything else is delegated to the stream.

    Args:
        stream: None if there is no stream, for example because the shell has closed it.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = _nowhere() if stream is None else stream
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        return not self._stream.closed and self._stream.isatty()

    def _attempt(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except BlockingIOError:  # the reader is too slow at the moment
            return
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._give_up()

    def _give_up(self) -> None:
        """Discard all further output, including buffered text and the output of C libraries."""
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # not a file of the operating system, or closed
            self._stream = _nowhere()
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _occupy(number: int) -> None:
    """Occupy a standard stream's descriptor if it is closed.

    Otherwise a file opened later could get it, and C libraries would print into that file.
    """
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
