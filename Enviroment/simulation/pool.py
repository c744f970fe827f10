"""The base class of worker threads and processes: answers, failures and timeouts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from Common.errors import WorkerError
from Enviroment.simulation.part import Exchange, describe_environment

# Seconds. Waiting is counted in slices: if this process itself is stopped (Ctrl-Z, a sleeping
# laptop), one slice takes longer but still counts as one.
_SLICE = 1.0
_GRACE = 5.0  # for the other workers to finish their step after one has failed
_STOPPED = 3.0  # after which a worker stopped by the system counts as hung
_START_SECONDS = 300.0  # to make the parts: processes import, and share cores and disks

JOIN_SECONDS = 10.0  # a worker that takes longer to free its contexts is stuck

START = "its start"  # the job of a worker until its part is made

Answer = tuple[int, Any, BaseException | None]  # worker, value, what it raised


class WorkerPool(ABC):
    """Workers that run in parallel, each with a `Part` of its own.

    After one has died or hung, every further call raises that error again.

    Args:
        exchange: the shared arrays.
        parts: rows of each worker.
        timeout: seconds without any answer after which the awaited workers count as hung.
    """

    def __init__(self, exchange: Exchange, parts: list[range], timeout: float) -> None:
        self.exchange = exchange
        self.parts = parts
        self._timeout = timeout
        # The job of each worker, and its row; -1 for all of its rows, one by one.
        self._jobs: list[tuple[str, int]] = [(START, rows.start) for rows in parts]
        self._broken: BaseException | None = None

    def start(self, method: str) -> None:
        """Begin `Part.method()` in every worker."""
        self._check()
        for worker in range(len(self.parts)):
            self._jobs[worker] = (method, -1)
            self._send(worker, method)

    def wait(self) -> None:
        """Wait for the started method.

        Raises:
            WorkerError: an environment failed, died or hung.
        """
        self._gather(range(len(self.parts)), self._timeout)

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        """Return the result of `Part.method(*args)` of one worker. The first argument is a row.

        Raises:
            WorkerError: an environment died or hung. Errors of the method are raised as they are.
        """
        self._check()
        self._jobs[worker] = (method, args[0])
        self._send(worker, method, *args)
        return self._gather([worker], self._timeout)[worker]

    @abstractmethod
    def close(self) -> None:
        """Free the resources of the workers. A second call does nothing. Never hangs."""

    @abstractmethod
    def _send(self, worker: int, method: str, *args: Any) -> None:
        """Send a job to a worker."""

    @abstractmethod
    def _poll(self, workers: set[int], seconds: float) -> list[Answer]:
        """Return answers of these workers as soon as there are any; none after the timeout."""

    @abstractmethod
    def _abandon(self, worker: int) -> None:
        """Give up on a hung worker."""

    @abstractmethod
    def _describe(self, worker: int) -> str:
        """Return the name of a worker in messages, and its visible state while it hangs."""

    def _is_stopped(self, worker: int) -> bool:
        """Return whether the system has stopped the worker."""
        return False

    def _wait_for_start(self) -> None:
        """Wait until all parts are made. Close the workers if one fails."""
        try:
            self._gather(range(len(self.parts)), max(self._timeout, _START_SECONDS))
        except BaseException:
            self.close()
            raise

    def _gather(self, workers: Iterable[int], timeout: float) -> dict[int, Any]:
        waiting, values = set(workers), {}
        failure: BaseException | None = None
        idle = stopped = 0.0  # seconds
        slice_ = min(_SLICE, timeout)
        while waiting:
            answers = self._poll(waiting, slice_)
            for worker, value, error in answers:
                waiting.discard(worker)
                values[worker] = value
                failure = failure or error
            if answers:
                idle = stopped = 0.0
                continue
            idle += slice_
            stopped = stopped + slice_ if any(map(self._is_stopped, waiting)) else 0.0
            patience = timeout if failure is None else min(timeout, _GRACE)
            if idle >= patience or stopped >= _STOPPED:
                failure = failure or self._hang(waiting, idle)
                self._broken = failure
                for worker in waiting:
                    self._abandon(worker)
                break
        if failure is not None:
            raise failure
        return values

    def _hang(self, waiting: set[int], idle: float) -> WorkerError:
        stopped = [worker for worker in waiting if self._is_stopped(worker)]
        worker = min(stopped or waiting)
        return WorkerError(
            f"{self._environment(worker)} hangs in {self._jobs[worker][0]}: no answer for "
            f"{idle:g} s from {self._describe(worker)}. If a step may take that long, pass "
            "make_env a larger worker_timeout."
        )

    def _environment(self, worker: int) -> str:
        """Return the name of the environment in progress of a worker."""
        row = self._jobs[worker][1]
        if row < 0:
            row = int(self.exchange.busy[self.parts[worker].start])
        return describe_environment(self.exchange.layout.task, row)

    def _check(self) -> None:
        if self._broken is not None:
            raise WorkerError(f"The workers are closed after: {self._broken}") from self._broken
