"""How far a command is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Self, TypeVar

from tqdm import tqdm

LINE_INTERVAL = 10.0  # s, between lines where there is no terminal to draw a bar on

_shown: ContextVar[bool] = ContextVar("progress_shown", default=False)
_T = TypeVar("_T")


@contextlib.contextmanager
def progress_shown() -> Iterator[None]:
    """In the block, each `Progress` is shown. During training there is another bar."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


class Progress:
    """A task that takes steps; a context manager.

    Args:
        total: how many steps it has; None: nobody knows.
        unit: what they are, in the plural.
        title: said before them.
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
                miniters=0,  # a bar of few steps still shows that time goes by
                leave=False,
                dynamic_ncols=True,
            )

    def advance(self, steps: int = 1) -> None:
        """So many more steps are done; 0: it is still at work."""
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
    """The items, one after the other, with their progress."""
    with Progress(total, unit, title) as progress:
        for item in items:
            yield item
            progress.advance()
