"""Progress of a command: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Self, TypeVar

from tqdm import tqdm

LINE_INTERVAL = 10.0  # s between lines if there is no terminal

_shown: ContextVar[bool] = ContextVar("progress_shown", default=False)
_T = TypeVar("_T")


@contextlib.contextmanager
def progress_shown() -> Iterator[None]:
    """Show each `Progress` inside the block. Training has a bar of its own."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


class Progress:
    """The progress of a task in steps; a context manager.

    Args:
        total: number of steps; None if unknown.
        unit: name of the steps, in the plural.
        title: text printed before the number of steps.
    """

    def __init__(self, total: int | None, unit: str, title: str = "") -> None:
        self._total, self._unit, self._title = total, unit, title
        self._done = 0
        self._bar: tqdm | None = None
        self._line_due = time.monotonic() + LINE_INTERVAL
        if _shown.get() and sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                desc=title or None,
                unit=f" {unit}",
                miniters=0,  # update the elapsed time even if the steps are few
                leave=False,
                dynamic_ncols=True,
            )

    def advance(self, steps: int = 1) -> None:
        """Count further steps; 0 refreshes the display only."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif _shown.get() and time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + LINE_INTERVAL
            title = f"{self._title}: " if self._title else ""
            total = "" if self._total is None else f" of {self._total:,}"
            print(f"{title}{self._done:,}{total} {self._unit}", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def tracked(items: Iterable[_T], total: int, unit: str, title: str = "") -> Iterator[_T]:
    """Yield the items and show the progress."""
    with Progress(total, unit, title) as progress:
        for item in items:
            yield item
            progress.advance()
