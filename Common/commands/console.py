"""Standard output and error as best effort: no command ends because nobody can read what it says.

A pipe whose reader is gone (`| head -1`), a full disk, a closed descriptor and letters that the
terminal's encoding has not: what cannot be written is dropped, and the command goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

_DESCRIPTORS = {"stdout": 1, "stderr": 2}


@contextlib.contextmanager
def best_effort_console() -> Iterator[None]:
    """In the block, `sys.stdout` and `sys.stderr` never raise. At its end all is flushed."""
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
    """From now on the two never raise. For processes that do nothing but work.

    Returns: by name what now stands in `sys`.
    """
    streams = {}
    for name, number in _DESCRIPTORS.items():
        _occupy(number)
        stream = getattr(sys, name)
        streams[name] = stream if isinstance(stream, BestEffort) else BestEffort(stream)
        setattr(sys, name, streams[name])
    return streams


class BestEffort:
    """A text stream that drops what cannot be written. All else is the stream's own.

    Args:
        stream: None: there is none, as where a shell has closed it.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = _nowhere() if stream is None else stream

    def write(self, text: str) -> int:
        try:
            self._attempt(lambda: self._stream.write(text))
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            readable = text.encode(encoding, "backslashreplace").decode(encoding)
            self._attempt(lambda: self._stream.write(readable))
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
        except UnicodeEncodeError:
            raise
        except BlockingIOError:  # it is too slow just now
            return
        except (OSError, ValueError):  # ValueError: it is closed
            self._give_up()

    def _give_up(self) -> None:
        """Lead all further output nowhere; also what is buffered, and what C libraries print."""
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # no file of the system's, or closed
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
    """Make sure that no file which is opened later gets a standard stream's descriptor, and with
    it what C libraries print.
    """
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
