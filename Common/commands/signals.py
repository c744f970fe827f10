"""SIGINT and SIGTERM: a run is stopped where its state is whole, or at once when asked again."""

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
    """A signal ended the run in order. No `Exception`, so that nothing takes it for a failure.

    Args:
        number: of the signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"Stopped by {number.name}.")
        self.exit_code = 128 + number  # as shells tell it: 130 for SIGINT, 143 for SIGTERM


class StopSignals:
    """Takes the two signals while the block lasts.

    The first one raises `Stopped`; within `held` it waits until `stop_if_requested` is called.
    From then on the system's default holds, so a second one ends the process at once, also where
    Python code no longer runs.

    Signals that are ignored (`nohup`, a shell's background) stay so. Python tells signals to its
    main thread only; in another one this does nothing.
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
        """A block that `stop_if_requested` alone may end; it is called at the end too."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        self.stop_if_requested()

    def stop_if_requested(self) -> None:
        """Raises `Stopped` if a signal came."""
        if self.requested is not None:
            raise Stopped(self.requested)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        self.requested = signal.Signals(number)
        if not self._holds:
            raise Stopped(self.requested)
        # Not by print: it may have been interrupted in the middle of another one.
        text = f"\n{self.requested.name}: the current step is finished, then the run stops. "
        with contextlib.suppress(OSError):  # nobody reads it
            os.write(2, f"{text}A second signal stops it at once.\n".encode())
