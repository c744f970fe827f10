"""Worker threads that step and render environments."""

from __future__ import annotations

import sys
import time
import traceback
import warnings
import weakref
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from Enviroment.simulation.part import Exchange, Layout, Part
from Enviroment.simulation.pool import JOIN_SECONDS, Answer, WorkerPool

_Inbox = SimpleQueue[tuple[str, tuple[Any, ...]] | None]  # method and arguments; None: stop
_Outbox = SimpleQueue[Answer]


class ThreadWorkers(WorkerPool):
    """Worker threads. MuJoCo releases Python's lock to step and render, so they run in parallel.

    They read `SimpleQueue`s, and the finalizer only puts an item into them: it may run wherever the
    garbage collector does, so it must neither take a lock nor wait for a thread.
    """

    def __init__(self, layout: Layout, parts: list[range], timeout: float) -> None:
        super().__init__(Exchange(layout, bytearray(Exchange.size(layout))), parts, timeout)
        self._inboxes: list[_Inbox] = [SimpleQueue() for _ in parts]
        self._outbox: _Outbox = SimpleQueue()
        self._hung: set[int] = set()
        self._threads = [
            Thread(
                target=_live,
                args=(worker, self._inboxes[worker], self._outbox, layout, rows, self.exchange),
                name=f"environments {rows.start} to {rows.stop - 1}",
                daemon=True,
            )
            for worker, rows in enumerate(parts)
        ]
        self._finalizer = weakref.finalize(self, _stop, self._inboxes)
        # At exit the daemon threads end with the process, which frees everything.
        self._finalizer.atexit = False
        for thread in self._threads:
            thread.start()
        self._wait_for_start()

    def close(self) -> None:
        """Free the resources of the threads. A hung thread cannot be ended and is left behind."""
        if not self._finalizer.alive:
            return
        self._finalizer()
        deadline = time.monotonic() + JOIN_SECONDS
        for worker, thread in enumerate(self._threads):
            wait = 0.0 if worker in self._hung else max(deadline - time.monotonic(), 0.0)
            thread.join(wait)
            if thread.is_alive():
                warnings.warn(
                    f"The thread of {thread.name} hangs. It keeps its resources until the program "
                    "ends.",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _send(self, worker: int, method: str, *args: Any) -> None:
        self._inboxes[worker].put((method, args))

    def _poll(self, workers: set[int], seconds: float) -> list[Answer]:
        try:
            return [self._outbox.get(timeout=seconds)]
        except Empty:
            return []

    def _abandon(self, worker: int) -> None:
        self._hung.add(worker)

    def _describe(self, worker: int) -> str:
        thread = self._threads[worker]
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is None:
            return f"the thread of {thread.name}, which is gone"
        place = traceback.extract_stack(frame)[-1]
        return f"the thread of {thread.name}, which is at {place.filename}, line {place.lineno}"


def _live(
    worker: int, inbox: _Inbox, outbox: _Outbox, layout: Layout, rows: range, exchange: Exchange
) -> None:
    """Make, use and close the part in one thread, because an OpenGL context binds to a thread."""
    try:
        part = Part(layout, rows, exchange)
    except Exception as error:  # the caller raises it
        outbox.put((worker, None, error))
        return
    outbox.put((worker, None, None))
    while (job := inbox.get()) is not None:
        method, args = job
        try:
            answer: Answer = (worker, getattr(part, method)(*args), None)
        except (Exception, SystemExit) as error:  # as above
            answer = (worker, None, error)
        outbox.put(answer)
        # Otherwise they would keep their references alive until the next job.
        del job, args, answer
    part.close()


def _stop(inboxes: list[_Inbox]) -> None:
    for inbox in inboxes:
        inbox.put(None)
