"""Worker processes that step and render environments."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from Common.commands.console import protect_console
from Common.errors import UserError, WorkerError
from Enviroment.simulation.part import Exchange, Layout, Part
from Enviroment.simulation.pool import JOIN_SECONDS, START, Answer, WorkerPool

_START_HELP = (
    " Its output gives the reason. The script that makes the environments must do so under "
    '`if __name__ == "__main__":`, because each worker process imports the script.'
)
_GUARD_SECONDS = 5.0  # between two checks that the parent is alive


class ProcessWorkers(WorkerPool):
    """Worker processes, for machines with many cores: each has its own Python lock.

    They are spawned, so an entry script needs `if __name__ == "__main__"`. A worker ends when the
    pipe to its parent closes, however the parent ended.
    """

    def __init__(self, layout: Layout, parts: list[range], timeout: float) -> None:
        context = mp.get_context("spawn")  # a forked copy of threads and OpenGL state would break
        # Anonymous memory: a killed run leaves no named segment behind.
        memory = context.RawArray("b", Exchange.size(layout))
        super().__init__(Exchange(layout, memory), parts, timeout)
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._finalizer = weakref.finalize(self, _close_processes, self._processes, self._pipes)
        for rows in parts:
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, layout, rows, memory), daemon=True
            )
            process.start()
            there.close()  # otherwise the end of the pipe would never be noticed
            self._pipes.append(here)
            self._processes.append(process)
        self._wait_for_start()

    def close(self) -> None:
        """End the processes; kill those that do not end by themselves."""
        self._finalizer()

    def _send(self, worker: int, method: str, *args: Any) -> None:
        try:
            self._pipes[worker].send((method, args))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._death(worker) from error

    def _poll(self, workers: set[int], seconds: float) -> list[Answer]:
        ready = wait([self._pipes[worker] for worker in workers], seconds)
        return [self._receive(worker) for worker in workers if self._pipes[worker] in ready]

    def _receive(self, worker: int) -> Answer:
        try:
            answer = self._pipes[worker].recv()
        except (EOFError, ConnectionResetError):
            return worker, None, self._death(worker)
        if isinstance(answer, _Failure):
            return worker, None, answer.exception()
        return worker, answer, None

    def _abandon(self, worker: int) -> None:
        self._processes[worker].kill()

    def _describe(self, worker: int) -> str:
        rows = self.parts[worker]
        about = f"worker process {self._processes[worker].pid}"
        about += f" (environments {rows.start} to {rows.stop - 1})"
        return f"{about}, which is stopped (SIGSTOP)" if self._is_stopped(worker) else about

    def _is_stopped(self, worker: int) -> bool:
        if not sys.platform.startswith("linux"):
            return False
        try:
            text = Path(f"/proc/{self._processes[worker].pid}/stat").read_text()
        except OSError:  # it has ended, which its pipe shows
            return False
        return text.rpartition(")")[2].split()[0] == "T"  # "pid (name) state ..."

    def _death(self, worker: int) -> WorkerError:
        process = self._processes[worker]
        process.join(JOIN_SECONDS / 2)  # its pipe is closed, so it is about to end
        what = self._jobs[worker][0]
        self._broken = WorkerError(
            f"{self._environment(worker)} died in {what}: "
            f"{self._describe(worker)} {_end_of(process.exitcode)}."
            f"{_START_HELP if what == START else ''}"
        )
        return self._broken


def _end_of(exit_code: int | None) -> str:
    if exit_code is None:
        return "closed its pipe"
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    name = signal.Signals(-exit_code).name
    cause = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"was ended by {name}{cause}"


class _Failure:
    """An exception of a worker process in picklable form."""

    def __init__(self, error: BaseException) -> None:
        # Other exceptions may not be picklable, and a traceback never is.
        if isinstance(error, UserError):
            self._type, self._message = type(error), str(error)
        elif isinstance(error, AttributeError):  # SB3's `has_attr` catches it
            self._type, self._message = AttributeError, str(error)
        else:
            self._type = RuntimeError
            self._message = f"An environment failed: {type(error).__name__}: {error}"
        self._traceback = "".join(traceback.format_exception(error))

    def exception(self) -> BaseException:
        error = self._type(self._message)
        error.__cause__ = _RemoteError(f"\n{self._traceback}")
        return error


class _RemoteError(Exception):
    """The traceback of a worker process, as text."""


def _serve(pipe: Connection, layout: Layout, rows: range, memory: Any) -> None:
    """Run the jobs of the pipe in a worker process until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    protect_console()  # an environment's output must not end the worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
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
            except (Exception, SystemExit) as error:
                answer = _Failure(error)
            _answer(pipe, answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        part.close()


def _answer(pipe: Connection, answer: Any) -> None:
    try:
        pipe.send(answer)
    except OSError:
        raise
    except Exception as error:  # pickling fails in many ways, before anything is sent
        pipe.send(_Failure(RuntimeError(f"its answer cannot be pickled: {error}")))


def _end_with_parent() -> None:
    """End this process with its parent, even if an environment blocks and no pipe is read."""
    parent = mp.parent_process()
    assert parent is not None
    while parent.is_alive() and os.getppid() == parent.pid:
        # Processes forked by the parent may keep open the pipe that `join` waits for.
        parent.join(_GUARD_SECONDS)
    os._exit(1)


def _close_processes(processes: list[BaseProcess], pipes: list[Connection]) -> None:
    for pipe in pipes:
        pipe.close()
    deadline = time.monotonic() + JOIN_SECONDS
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0.0))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
