"""Jobs in a bounded number of processes, with commands that train nothing."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from Common.commands.jobs import Ended, Job, LocalWorkers, launch, run_jobs
from Distillation.sweeps.board import Board


class Record:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.started_jobs: list[str] = []
        self.ends: list[tuple[str, str | None, bool, bool]] = []

    def started(self, job: Job) -> None:
        self.started_jobs.append(job.name)

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        self.ends.append((ended.job.name, ended.failure, again, stopped))


def python(folder: Path, name: str, code: str, *arguments: object) -> Job:
    command = (sys.executable, "-S", "-c", code, *map(str, arguments))
    return Job(name, command, folder / f"{name}.log", folder=folder)


def run(jobs: list[Job], size: int, retries: int = 0) -> Record:
    record = Record()
    run_jobs(jobs, LocalWorkers(size), record, retries=retries)
    return record


# Leaves its mark, and ends once there are as many as wanted.
MEET = """
import os, sys, time
here, name, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
open(f"{here}/{name}", "w")
deadline = time.monotonic() + 60
while len(os.listdir(here)) < wanted:
    assert time.monotonic() < deadline, "alone"
    time.sleep(0.01)
"""


def test_as_many_processes_as_asked_and_no_more(tmp_path):
    class Counting(LocalWorkers):
        def start(self, job: Job) -> None:
            super().start(job)
            counts.append(len(self._processes))

    counts: list[int] = []
    marks = tmp_path / "marks"
    marks.mkdir()
    # The first two meet only if they run side by side, the others find them done.
    jobs = [python(tmp_path, f"job{i}", MEET, marks, i, 2) for i in range(5)]
    record = Record()
    run_jobs(jobs, Counting(2), record, retries=0)
    assert [end[1] for end in record.ends] == [None] * 5
    assert max(counts) == 2


def test_what_fails_comes_again_after_all_others(tmp_path):
    fails_once = "import os, sys; os.path.exists('seen') or sys.exit(open('seen', 'w') and 3)"
    jobs = [python(tmp_path, "once", fails_once), python(tmp_path, "fine", "")]
    record = run(jobs, size=1, retries=1)
    assert record.started_jobs == ["once", "fine", "once"]
    assert record.ends == [
        ("once", "exit code 3", True, False),
        ("fine", None, False, False),
        ("once", None, False, False),
    ]


def test_what_keeps_failing_is_given_up(tmp_path):
    (job,) = [python(tmp_path, "bad", "raise SystemExit('no luck')")]
    record = run([job], size=1, retries=2)
    assert [end[2] for end in record.ends] == [True, True, False]
    assert job.log.read_text().count("no luck\n") == 3  # the log of every attempt


def test_a_process_that_is_killed_and_one_that_does_not_exist_have_failed(tmp_path):
    killed = python(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)")
    nowhere = Job("nowhere", ("true",), tmp_path / "nowhere.log", folder=tmp_path / "missing")
    failures = {name: failure for name, failure, _, _ in run([killed, nowhere], size=2).ends}
    assert "SIGKILL" in str(failures["killed"])
    assert "missing" in str(failures["nowhere"])


def test_a_job_whose_machine_fails_is_not_charged_for_it(tmp_path):
    class Losing:
        """Machines that fail, each time."""

        def __init__(self) -> None:
            self.job: list[Job] = []

        def room(self) -> int:
            return 1

        def start(self, job: Job) -> None:
            self.job.append(job)

        def wait(self) -> list[Ended]:
            return [Ended(self.job.pop(), "node died", lost=True)]

        def stop(self) -> None: ...

        def close(self) -> None: ...

    record = Record()
    run_jobs([python(tmp_path, "a", "")], Losing(), record, retries=0)
    assert [end[2] for end in record.ends] == [True, True, True, False]


def test_a_stop_lets_a_job_end_in_order_and_starts_nothing_more(tmp_path):
    code = """
import signal, sys, threading
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
open("up", "w")
while not end.wait(0.05):
    pass
print("saved", flush=True)
sys.exit(143)
"""
    jobs = [python(tmp_path, "runs", code), python(tmp_path, "waits", "")]
    record = Record()
    stops = (tmp_path / "up").exists
    run_jobs(jobs, LocalWorkers(1), record, retries=5, stops=stops)
    assert record.ends == [("runs", "exit code 143", False, True)]
    assert jobs[0].last_line() == "saved"


def test_a_stop_is_asked_for_once(tmp_path):
    """A second SIGTERM would end a run at once, before its checkpoint."""

    class Slow:
        """Ends its jobs some time after it was asked to."""

        def __init__(self) -> None:
            self.jobs: list[Job] = []
            self.stops = self.waits = 0

        def room(self) -> int:
            return 1

        def start(self, job: Job) -> None:
            self.jobs.append(job)

        def wait(self) -> list[Ended]:
            self.waits += 1
            return [Ended(self.jobs.pop(), "exit code 143")] if self.waits == 5 else []

        def stop(self) -> None:
            self.stops += 1

        def close(self) -> None: ...

    workers = Slow()
    stops = lambda: workers.waits > 1  # noqa: E731
    run_jobs([python(tmp_path, "a", "")], workers, Record(), retries=1, stops=stops)
    assert workers.stops == 1


def test_an_error_of_the_driver_ends_its_processes(tmp_path):
    pids = []

    class Broken(Record):
        def started(self, job: Job) -> None:
            pids.extend(workers._processes)
            raise RuntimeError

    workers = LocalWorkers(1)
    with pytest.raises(RuntimeError):
        run_jobs([python(tmp_path, "a", WAIT)], workers, Broken(), retries=0)
    assert pids[0].returncode == -signal.SIGKILL


WAIT = "import time\nwhile True: time.sleep(1)"

DRIVER = """
import sys
from pathlib import Path
from Common.commands.jobs import Job, LocalWorkers, run_jobs
class Quiet:
    def started(self, job): pass
    def ended(self, ended, **how): print("ended", ended.job.name, ended.failure, flush=True)
here = Path(sys.argv[1])
# The first time it tells its process and waits; the second time it ends.
code = '''
import os, time
if not os.path.exists("pid"):
    open("pid", "w").write(str(os.getpid()))
    open("up", "w").close()
    while True: time.sleep(1)
'''
jobs = [Job("a", (sys.executable, "-S", "-c", code), here / "a.log", folder=here)]
run_jobs(jobs, LocalWorkers(1), Quiet(), retries=0)
"""


def test_no_process_outlives_a_driver_that_is_killed(tmp_path):
    os.mkfifo(tmp_path / "up")
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    driver = subprocess.Popen(command)
    (tmp_path / "up").read_text()  # ends when the job has written its pid
    child = os.pidfd_open(int((tmp_path / "pid").read_text()))
    driver.kill()
    driver.wait()
    assert select.select([child], [], [], 60)[0], "the job outlived its driver"
    os.close(child)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "ended a None\n"


def test_a_job_without_its_parent_does_not_begin(tmp_path):
    attached = Path(launch.__code__.co_filename).with_name("attached.py")
    command = [sys.executable, str(attached), "1", sys.executable, "-c", "print('ran')"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")


# -- what is shown --------------------------------------------------------------------------------


def board(tmp_path: Path, *names: str, done: tuple[str, ...] = (), **console: bool) -> tuple:
    text = io.StringIO()
    out = Console(file=text, width=120, height=20, **console)  # pyright: ignore[reportArgumentType]
    clock = iter(range(0, 1000, 10)).__next__
    return Board({name: tmp_path / name for name in names}, done, out, clock), out, text


def test_the_end_tells_failures_with_their_logs_and_figures_of_the_others(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good/evaluation.json").write_text(
        '{"return": 90.0, "teacher_return": 100.0, "skill": 0.875}'
    )
    (tmp_path / "old").mkdir()
    (tmp_path / "old/metrics.jsonl").write_text('{"step": 1, "time/seconds": 42.0}\n')
    shown, out, text = board(tmp_path, "good", "bad", "old", done=("old",))
    jobs = [python(tmp_path, "good", ""), python(tmp_path, "bad", "")]
    jobs[1].log.write_text("Traceback\nValueError: [no] luck\n")
    for job, failure in zip(jobs, (None, "exit code 1"), strict=True):
        shown.started(job)
        shown.ended(Ended(job, failure), again=False, stopped=False)
    assert shown.failures() == [
        f"bad: exit code 1: ValueError: [no] luck\n  log {tmp_path / 'bad.log'}"
    ]
    out.print(shown.final_table())
    rows = [line.split() for line in text.getvalue().splitlines()]
    assert ["good", "done", "1", "10", "90.00", "0.900", "0.875"] in rows
    assert ["bad", "failed", "1", "10"] in rows
    assert ["old", "done", "before", "42"] in rows
    assert "1 failed" in text.getvalue()


def test_the_live_table_puts_first_what_runs(tmp_path):
    names = [f"run{i:02}" for i in range(40)]
    shown, out, text = board(tmp_path, *names, force_terminal=True)
    shown.started(python(tmp_path, "run39", ""))
    (tmp_path / "run39").mkdir()
    (tmp_path / "run39/metrics.jsonl").write_text('{"step": 1152}\n{"step": 23')  # being written
    out.print(shown._live_table())
    lines = text.getvalue().splitlines()
    assert "40 runs: 39 waiting, 1 running" in lines[0]
    assert "run39" in lines[2]
    assert "1,152" in lines[2]
    assert "and 28 more" in lines[-1]
    assert len(lines) < 20  # the height of the terminal
