"""Stop a run at a consistent state on SIGINT or SIGTERM, or at once on the second signal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal stopped the run. Not an `Exception`, so that no handler takes it for a failure.

    Args:
        number: the signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"Stopped by {number.name}.")
        self.exit_code = 128 + number  # as in shells: 130 for SIGINT, 143 for SIGTERM


class StopSignals:
    """Handles SIGINT and SIGTERM inside the block.

    The first signal raises `Stopped`; within `held` it waits until `stop_if_requested` is called.
    After it, the system's default handlers are in place: a second signal ends the process at once,
    even while no Python code runs.

    Ignored signals (`nohup`, a shell's background job) stay ignored. Python delivers signals to
    its main thread only; in other threads this does nothing.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._holds = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defer `Stopped` to the next `stop_if_requested`, at the latest the end of the block."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        self.stop_if_requested()

    def stop_if_requested(self) -> None:
        """Raise `Stopped` if a signal has arrived."""
        if self.requested is not None:
            raise Stopped(self.requested)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        self.requested = signal.Signals(number)
        if not self._holds:
            raise Stopped(self.requested)
        # Not `print`: the signal may have interrupted another call of it.
        text = f"\n{self.requested.name}: the run stops after the current step. "
        with contextlib.suppress(OSError):  # standard error has no reader
            os.write(2, f"{text}A second signal stops it at once.\n".encode())
