"""Commands in a bounded number of processes: started, waited for, tried again, stopped in order.

Nothing here knows of training: a `Job` is any command. `LocalWorkers` runs them here,
`Common.commands.ray_jobs.RayWorkers` on a cluster; `run_jobs` is the loop over either.
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
_POLL_SECONDS = 0.2  # between two looks at which processes have ended
_MAX_LOSSES = 3  # of one job, by machines that fail: then it is the job that kills them
_TAIL = 4096  # bytes at the end of a log, in which its last line is looked for


@dataclass(frozen=True)
class Job:
    """A command that can be given again after it was cut short, and then goes on."""

    name: str
    command: Sequence[str]
    log: Path  # what it prints is appended here
    folder: Path = field(default_factory=Path.cwd)  # that it runs in
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of this process

    def last_line(self) -> str:
        """Of its log; "" where there is none."""
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
    lost: bool = False  # not the job failed, but the machine that it was on


class Workers(Protocol):
    """Where jobs run."""

    def room(self) -> int:
        """How many jobs can run at the same time now."""
        ...

    def start(self, job: Job) -> None:
        """Starts an attempt."""
        ...

    def wait(self) -> list[Ended]:
        """What has ended; returns after a moment also if nothing has."""
        ...

    def stop(self) -> None:
        """Asks all jobs to end in order (SIGTERM)."""
        ...

    def close(self) -> None:
        """Ends at once whatever still runs."""
        ...


class Watcher(Protocol):
    """Who is told what happens."""

    def started(self, job: Job) -> None:
        """An attempt began."""
        ...

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        """An attempt ended.

        Args:
            again: there will be another one.
            stopped: it was asked to end.
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
    """Runs all jobs; those that fail come again after all others.

    Args:
        retries: attempts at most after a first one that failed. An attempt whose machine failed
            does not count, three times.
        stops: once it says so, no job is started, and those that run are asked to end.
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
    """Processes on this machine. They end with this one, however that ends.

    Args:
        size: processes at the same time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._processes: dict[subprocess.Popen[bytes], Job] = {}
        self._unstarted: list[Ended] = []

    def room(self) -> int:
        """How many processes there may be."""
        return self._size

    def start(self, job: Job) -> None:
        """Starts an attempt."""
        try:
            self._processes[launch(job)] = job
        except OSError as error:
            self._unstarted.append(Ended(job, f"cannot be started: {error}"))

    def wait(self) -> list[Ended]:
        """What has ended in a moment."""
        ended, self._unstarted = self._unstarted, []
        if not ended and not any(process.poll() is not None for process in self._processes):
            time.sleep(_POLL_SECONDS)
        for process in [p for p in self._processes if p.poll() is not None]:
            ended.append(Ended(self._processes.pop(process), failure_of(process.returncode)))
        return ended

    def stop(self) -> None:
        """Asks all to end."""
        for process in self._processes:
            process.terminate()

    def close(self) -> None:
        """Ends at once whatever still runs, and what that has started."""
        for process in self._processes:
            kill(process)
        self._processes.clear()


def launch(job: Job) -> subprocess.Popen[bytes]:
    """A job's process, in a session of its own: a terminal's Ctrl-C goes to this process alone,
    which passes it on once. It ends when the thread that called this does.

    Raises:
        OSError: it cannot be started, or its log cannot be written.
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
    """Ends a process of `launch`, and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failure_of(exit_code: int) -> str | None:
    """What an exit code says, as `subprocess` has it; None for success."""
    if exit_code >= 0:
        return f"exit code {exit_code}" if exit_code else None
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    cause = " (the system does that where memory runs out)" if name == "SIGKILL" else ""
    return f"ended by {name}{cause}"
