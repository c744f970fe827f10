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
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_all
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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
    """Threads. MuJoCo steps and draws without Python's lock, so they do work at once."""

    def __init__(self, layout: Layout, parts: list[range]) -> None:
        self.exchange = Exchange(layout, bytearray(Exchange.size(layout)))
        self.parts = parts
        # One executor each, because a part must be made, used and closed in the same thread.
        self._threads = [ThreadPoolExecutor(1, "environments") for _ in parts]
        self._running: list[Future] = []
        self._parts: list[Part] = []
        # An exit joins the threads before finalizers run, and then the process frees everything.
        self._finalizer = weakref.finalize(self, _close_threads, self._threads, self._parts)
        self._finalizer.atexit = False
        making = [
            thread.submit(Part, layout, rows, self.exchange)
            for thread, rows in zip(self._threads, parts, strict=True)
        ]
        wait_all(making)
        self._parts.extend(future.result() for future in making if not future.exception())
        try:
            _raise_first(making)
        except BaseException:
            self.close()
            raise

    def start(self, method: str) -> None:
        pairs = zip(self._threads, self._parts, strict=True)
        self._running = [thread.submit(getattr(part, method)) for thread, part in pairs]

    def wait(self) -> None:
        wait_all(self._running)
        _raise_first(self._running)

    def ask(self, worker: int, method: str, *args: Any) -> Any:
        return self._threads[worker].submit(getattr(self._parts[worker], method), *args).result()

    def close(self) -> None:
        self._finalizer()


def _raise_first(futures: list[Future]) -> None:
    for future in futures:
        future.result()


def _close_threads(threads: list[ThreadPoolExecutor], parts: list[Part]) -> None:
    closing = [thread.submit(part.close) for thread, part in zip(threads, parts, strict=False)]
    for thread in threads:
        thread.shutdown()
    _raise_first(closing)


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
