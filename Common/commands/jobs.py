"""Run commands in a bounded number of processes: start, wait, retry, stop cleanly.

A `Job` is any command. `LocalWorkers` runs jobs on this machine,
`Common.commands.ray_jobs.RayWorkers` on a Ray cluster; `run_jobs` is the loop over either.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_ATTACHED = Path(__file__).with_name("attached.py")
_POLL_SECONDS = 0.2  # between two checks for ended processes
_MAX_LOSSES = 3  # machine failures per job; after more of them the job is to blame
_TAIL = 4096  # bytes at the end of a log that are searched for its last line


@dataclass(frozen=True)
class Job:
    """A command that continues its work when it is run again after an interruption."""

    name: str
    command: Sequence[str]
    log: Path  # its output is appended here
    folder: Path = field(default_factory=Path.cwd)  # the working directory
    environment: Mapping[str, str] = field(default_factory=dict)  # added to this process's own

    def last_line(self) -> str:
        """Return the last line of its log, or "" if there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True)
class Ended:
    """How an attempt at a job ended."""

    job: Job
    failure: str | None  # None: exit code 0
    lost: bool = False  # the machine failed, not the job


class Workers(Protocol):
    """Runs jobs in parallel, on this machine or on a cluster."""

    def room(self) -> int:
        """Return how many jobs can run at the same time now."""
        ...

    def start(self, job: Job) -> None:
        """Start an attempt."""
        ...

    def wait(self) -> list[Ended]:
        """Return the attempts that have ended. Return after a moment even if none has."""
        ...

    def stop(self) -> None:
        """Ask all jobs to end (SIGTERM)."""
        ...

    def close(self) -> None:
        """Kill all running jobs."""
        ...


class Watcher(Protocol):
    """Receives the events of `run_jobs`."""

    def started(self, job: Job) -> None:
        """Handle the start of an attempt."""
        ...

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        """Handle the end of an attempt.

        Args:
            again: whether the job will be retried.
            stopped: whether its end was requested.
        """
        ...


def run_jobs(
    jobs: Sequence[Job],
    workers: Workers,
    watcher: Watcher,
    *,
    retries: int,
    stops: Callable[[], bool] = lambda: False,
) -> None:
    """Run all jobs; retry failed ones after all others.

    Args:
        retries: maximum number of further attempts after a failed one. Up to three attempts per
            job whose machine failed do not count.
        stops: once it returns True, no job is started, and running ones are stopped.
    """
    waiting, running, asked = deque(jobs), 0, False
    failures: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    try:
        while running or (waiting and not stops()):
            if stops() and not asked:
                workers.stop()
                asked = True
            while waiting and not asked and running < workers.room():
                job = waiting.popleft()
                workers.start(job)
                running += 1
                watcher.started(job)
            for ended in workers.wait():
                running -= 1
                counts = losses if ended.lost else failures
                counts[ended.job.name] += 1
                limit = _MAX_LOSSES if ended.lost else retries
                again = bool(ended.failure) and counts[ended.job.name] <= limit and not asked
                if again:
                    waiting.append(ended.job)
                watcher.ended(ended, again=again, stopped=asked)
    finally:
        workers.close()


class LocalWorkers:
    """Jobs as processes on this machine. They end with this process, however it ends.

    Args:
        size: number of processes at the same time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._processes: dict[subprocess.Popen[bytes], Job] = {}
        self._unstarted: list[Ended] = []

    def room(self) -> int:
        """Return how many processes may run at the same time."""
        return self._size

    def start(self, job: Job) -> None:
        """Start an attempt."""
        try:
            self._processes[launch(job)] = job
        except OSError as error:
            self._unstarted.append(Ended(job, f"cannot be started: {error}"))

    def wait(self) -> list[Ended]:
        """Return the attempts that have ended, after a moment at most."""
        ended, self._unstarted = self._unstarted, []
        if not ended and not any(process.poll() is not None for process in self._processes):
            time.sleep(_POLL_SECONDS)
        for process in [p for p in self._processes if p.poll() is not None]:
            ended.append(Ended(self._processes.pop(process), failure_of(process.returncode)))
        return ended

    def stop(self) -> None:
        """Ask all jobs to end (SIGTERM)."""
        for process in self._processes:
            process.terminate()

    def close(self) -> None:
        """Kill all running jobs and the processes that they started."""
        for process in self._processes:
            kill(process)
        self._processes.clear()


def launch(job: Job) -> subprocess.Popen[bytes]:
    """Start a job's process in a session of its own.

    A terminal's Ctrl-C then reaches this process alone, which passes it on once. The job ends when
    the thread that called this function ends.

    Raises:
        OSError: the process cannot be started, or its log cannot be written.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"$ {' '.join(job.command)}\n".encode())
        log.flush()
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_ATTACHED), str(os.getpid()), *job.command],
            cwd=job.folder,
            env={**os.environ, **job.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of `launch` and the processes that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failure_of(exit_code: int) -> str | None:
    """Describe an exit code of `subprocess`; return None for success."""
    if exit_code >= 0:
        return f"exit code {exit_code}" if exit_code else None
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    cause = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"ended by {name}{cause}"
