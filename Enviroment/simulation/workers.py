"""Step and render environments in the calling thread, in worker threads or in processes.

Each worker owns a contiguous part of the environments and, if frames are rendered, their OpenGL
context. Results are written to shared arrays, so a step sends no data through pipes or queues.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, get_args

from Common.errors import UserError
from Enviroment.simulation.part import Exchange, Layout, Part
from Enviroment.simulation.pool import WorkerPool
from Enviroment.simulation.processes import ProcessWorkers
from Enviroment.simulation.threads import ThreadWorkers

WorkerKind = Literal["serial", "thread", "process"]


def make_workers(kind: WorkerKind, layout: Layout, n_workers: int, timeout: float) -> Workers:
    """Start workers, each with an equal share of `layout.n_envs` environments.

    Args:
        kind: kind of the workers.
        layout: task and sizes of the environments.
        n_workers: number of workers; "serial" has one.
        timeout: seconds above 0 without an answer after which a thread or process counts as hung.

    Raises:
        UserError: the kind is unknown, or there is no usable OpenGL for frames.
    """
    if kind not in get_args(WorkerKind):
        raise UserError(f"There are no {kind!r} workers: use {', '.join(get_args(WorkerKind))}.")
    if kind == "serial":
        return SerialWorkers(layout)
    bounds = [layout.n_envs * worker // n_workers for worker in range(n_workers + 1)]
    kinds = {"thread": ThreadWorkers, "process": ProcessWorkers}
    return kinds[kind](layout, [range(*pair) for pair in pairwise(bounds)], timeout)


class SerialWorkers:
    """Environments in the calling thread: the least overhead, and the easiest to debug.

    There is no timeout: a hung environment hangs the caller.
    """

    def __init__(self, layout: Layout) -> None:
        self.exchange = Exchange(layout, bytearray(Exchange.size(layout)))
        self.parts = [range(layout.n_envs)]  # nothing runs in parallel, so one context suffices
        self._part = Part(layout, self.parts[0], self.exchange)
        self._closed = False

    def start(self, method: str) -> None:
        getattr(self._part, method)()

    def wait(self) -> None:
        """Do nothing: `start` has finished already."""

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        return getattr(self._part, method)(*args)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._part.close()


Workers = SerialWorkers | WorkerPool
