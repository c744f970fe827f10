"""Who steps and draws the environments: the calling thread, worker threads or processes.

Each worker owns a contiguous part of the environments and, where frames are wanted, the OpenGL
context that draws them. Results go into arrays that all share, so a step sends no data through
pipes or queues.
"""

from __future__ import annotations

import multiprocessing as mp
import signal
import traceback
import weakref
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal, Protocol, get_args

from Enviroment.errors import UserError
from Enviroment.simulation import Exchange, Layout, Part

WorkerKind = Literal["serial", "thread", "process"]

_JOIN_SECONDS = 10.0  # a worker that takes longer to free its contexts is stuck


class Workers(Protocol):
    """Runs the methods of every `Part`, at once where it can."""

    exchange: Exchange
    parts: list[range]  # rows of each worker

    def start(self, method: str) -> None:
        """Begin `Part.method()` in every worker."""
        ...

    def wait(self) -> None:
        """Wait for what was started, then raise what a worker raised."""
        ...

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        """The answer of `Part.method(*args)` of one worker."""
        ...

    def close(self) -> None:
        """Free what the workers hold. Closing twice is harmless."""
        ...


def make_workers(kind: WorkerKind, layout: Layout, n_workers: int) -> Workers:
    """Start workers, each with an equal share of `layout.n_envs` environments.

    Raises:
        UserError: unknown kind; no usable OpenGL where frames are wanted.
    """
    kinds = {"serial": SerialWorkers, "thread": ThreadWorkers, "process": ProcessWorkers}
    if kind not in kinds:
        raise UserError(f"There are no {kind!r} workers: use {', '.join(get_args(WorkerKind))}.")
    bounds = [layout.n_envs * worker // n_workers for worker in range(n_workers + 1)]
    return kinds[kind](layout, [range(*pair) for pair in pairwise(bounds)])


class SerialWorkers:
    """All in the calling thread: the least overhead, and the easiest to debug."""

    def __init__(self, layout: Layout, parts: list[range]) -> None:
        self.exchange = Exchange(layout, bytearray(Exchange.size(layout)))
        self.parts = [range(layout.n_envs)]  # nothing runs at once, so one context will do
        self._part = Part(layout, self.parts[0], self.exchange)
        self._closed = False

    def start(self, method: str) -> None:
        getattr(self._part, method)()

    def wait(self) -> None:
        """Nothing to wait for: `start` has done it."""

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        return getattr(self._part, method)(*args)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._part.close()


class ThreadWorkers:
    """Threads. MuJoCo steps and draws without Python's lock, so they do work at once.

    They are served by `SimpleQueue`s, and the finalizer only puts a word into them: it may run
    wherever the garbage collector does, so it must neither take a lock nor wait for a thread.
    """

    def __init__(self, layout: Layout, parts: list[range]) -> None:
        self.exchange = Exchange(layout, bytearray(Exchange.size(layout)))
        self.parts = parts
        self._inboxes: list[_Inbox] = [SimpleQueue() for _ in parts]
        self._outboxes: list[_Outbox] = [SimpleQueue() for _ in parts]
        self._threads = [
            Thread(
                target=_live_in_thread,
                args=(inbox, outbox, layout, rows, self.exchange),
                name=f"environments {rows.start} to {rows.stop - 1}",
                daemon=True,
            )
            for inbox, outbox, rows in zip(self._inboxes, self._outboxes, parts, strict=True)
        ]
        self._finalizer = weakref.finalize(self, _stop_threads, self._inboxes)
        # At exit the daemon threads end with the process, which frees everything.
        self._finalizer.atexit = False
        for thread in self._threads:
            thread.start()
        try:
            self.wait()
        except BaseException:
            self.close()
            raise

    def start(self, method: str) -> None:
        for inbox in self._inboxes:
            inbox.put((method, ()))

    def wait(self) -> None:
        for answer in [outbox.get() for outbox in self._outboxes]:
            _value(answer)

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        self._inboxes[worker].put((method, args))
        return _value(self._outboxes[worker].get())

    def close(self) -> None:
        self._finalizer()
        for thread in self._threads:
            thread.join()


_Inbox = SimpleQueue[tuple[str, tuple[Any, ...]] | None]  # method and arguments; None: stop
_Answer = tuple[Any, Exception | None]
_Outbox = SimpleQueue[_Answer]


def _live_in_thread(
    inbox: _Inbox, outbox: _Outbox, layout: Layout, rows: range, exchange: Exchange
) -> None:
    """A thread's life. It makes, uses and closes its part: an OpenGL context binds to a thread."""
    try:
        part = Part(layout, rows, exchange)
    except Exception as error:  # told to the caller, which raises it
        outbox.put((None, error))
        return
    outbox.put((None, None))
    while (job := inbox.get()) is not None:
        method, args = job
        try:
            outbox.put((getattr(part, method)(*args), None))
        except Exception as error:  # as above
            outbox.put((None, error))
    part.close()


def _stop_threads(inboxes: list[_Inbox]) -> None:
    for inbox in inboxes:
        inbox.put(None)


def _value(answer: _Answer) -> Any:
    value, error = answer
    if error is not None:
        raise error
    return value


class ProcessWorkers:
    """Processes, for machines with many cores: each has a Python lock of its own.

    They are spawned, so an entry script needs its `if __name__ == "__main__"`. A worker ends when
    the pipe to its parent does, whatever became of the parent.
    """

    def __init__(self, layout: Layout, parts: list[range]) -> None:
        context = mp.get_context("spawn")  # a forked copy of threads and OpenGL state would break
        # Anonymous memory: there is no name that a killed run could leave behind.
        memory = context.RawArray("b", Exchange.size(layout))
        self.exchange = Exchange(layout, memory)
        self.parts = parts
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._finalizer = weakref.finalize(self, _close_processes, self._processes, self._pipes)
        for rows in parts:
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, layout, rows, memory), daemon=True
            )
            process.start()
            there.close()  # or its end would never be noticed
            self._pipes.append(here)
            self._processes.append(process)
        try:
            self.wait()  # for the parts to be made
        except BaseException:
            self.close()
            raise

    def start(self, method: str) -> None:
        for worker in range(len(self._pipes)):
            self._send(worker, method)

    def wait(self) -> None:
        answers = [self._receive(worker) for worker in range(len(self._pipes))]
        _raise_failures(answers)

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        self._send(worker, method, *args)
        answer = self._receive(worker)
        _raise_failures([answer])
        return answer

    def close(self) -> None:
        self._finalizer()

    def _send(self, worker: int, method: str, *args: Any) -> None:
        try:
            self._pipes[worker].send((method, args))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._death(worker) from error

    def _receive(self, worker: int) -> Any:
        try:
            return self._pipes[worker].recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._death(worker) from error

    def _death(self, worker: int) -> RuntimeError:
        process = self._processes[worker]
        process.join(_JOIN_SECONDS)
        return RuntimeError(f"Environment worker {worker} died (exit code {process.exitcode}).")


class _Failure:
    """What a worker process raised, as it goes through the pipe."""

    def __init__(self, error: BaseException) -> None:
        # Other exceptions may not survive pickling, and a traceback never does.
        self.user_error = str(error) if isinstance(error, UserError) else None
        self.traceback = "".join(traceback.format_exception(error))


def _raise_failures(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, _Failure):
            if answer.user_error is not None:
                raise UserError(answer.user_error)
            raise RuntimeError(f"An environment worker failed:\n{answer.traceback}")


def _serve(pipe: Connection, layout: Layout, rows: range, memory: Any) -> None:
    """A worker process: do what the pipe asks until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        part = Part(layout, rows, Exchange(layout, memory))
    except Exception as error:
        pipe.send(_Failure(error))
        return
    try:
        pipe.send(None)
        while True:
            method, args = pipe.recv()
            try:
                answer = getattr(part, method)(*args)
            except Exception as error:
                answer = _Failure(error)
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        part.close()


def _close_processes(processes: list[BaseProcess], pipes: list[Connection]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(_JOIN_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
