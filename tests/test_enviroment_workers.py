"""Worker threads and processes: failures reach the caller, and nothing is left behind."""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Enviroment.make import make_env
from Enviroment.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
SMALL_REACHER = replace(TASKS["Reacher"], frame_size=(16, 24))
TIMEOUT = 60_000  # ms

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_a_failure_reaches_the_caller_and_the_rest_goes_on(kind):
    env = make_env(SMALL_REACHER, 2, 0, workers=kind)
    env.reset()
    with pytest.raises((AttributeError, RuntimeError), match="no_such_method"):
        env.env_method("no_such_method", indices=1)
    env.step(np.zeros((2, 2)))
    env.close()


def test_processes_end_with_close():
    env = make_env(SMALL_REACHER, 2, 0, workers="process", n_workers=2)
    assert len(mp.active_children()) == 2
    env.close()
    assert mp.active_children() == []


def test_processes_end_with_the_environment_that_nobody_closed():
    make_env(SMALL_REACHER, 2, 0, workers="process", n_workers=2)
    gc.collect()
    assert mp.active_children() == []


KILLED = """
import multiprocessing as mp
from Enviroment.make import make_env

if __name__ == "__main__":
    env = make_env("Reacher", 2, 0, workers="process", n_workers=2)
    env.reset()
    print(*(child.pid for child in mp.active_children()), flush=True)
    input()
"""


@linux_only
def test_processes_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    for child in children:
        poll = select.poll()
        poll.register(child, select.POLLIN)  # readable once the process has ended
        assert poll.poll(TIMEOUT), "a worker outlived its parent"
        os.close(child)


def processes() -> list[str]:
    """This one and its workers."""
    return ["self", *(str(child.pid) for child in mp.active_children())]


def resident_mib() -> float:
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in processes())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def n_descriptors() -> int:
    return sum(len(os.listdir(f"/proc/{p}/fd")) for p in processes())


def cycle(kind: Any) -> None:
    env = make_env(SMALL_REACHER, 2, 0, workers=kind, n_workers=2)
    env.reset()
    env.step(np.zeros((2, 2)))
    env.close()


@linux_only
@pytest.mark.parametrize(
    ("kind", "n_cycles"),
    [
        ("thread", 20),
        ("process", 3),
        pytest.param("thread", 200, marks=pytest.mark.slow),
        # Each starts two Python processes, so this takes many minutes.
        pytest.param("process", 200, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_making_and_closing_leaks_nothing(kind, n_cycles):
    for _ in range(2 if kind == "process" else 10):  # drivers and allocators fill their caches
        cycle(kind)
    gc.collect()
    memory, descriptors = resident_mib(), n_descriptors()
    for _ in range(n_cycles):
        cycle(kind)
    gc.collect()
    assert n_descriptors() <= descriptors
    # One renderer that is not freed keeps 8 MiB. The allocator's arenas for threads come and go.
    assert resident_mib() - memory < 20.0


@linux_only
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_drawing_frames_leaks_nothing(kind):
    env = make_env(SMALL_REACHER, 2, 0, workers=kind, n_workers=2 if kind != "serial" else None)
    env.reset()
    actions = np.zeros((2, 2), np.float32)
    for _ in range(2_500):  # 50 episodes each, while caches fill
        env.step(actions)
    gc.collect()
    memory, descriptors = resident_mib(), n_descriptors()
    for _ in range(25_000):  # two frames each
        env.step(actions)
    gc.collect()
    assert n_descriptors() <= descriptors
    assert resident_mib() - memory < 10.0  # 0.2 KiB a frame, half of one
    env.close()


def test_the_collector_frees_environments_in_any_thread():
    """Models and environments refer to each other, so the collector frees them, wherever it runs.

    It may run in a thread that holds a lock of the standard library's executors: a finalizer that
    needs such a lock, or waits for a thread, would stop everything.
    """
    env: Any = make_env("Pusher", 2, seed=0, blind=True, n_workers=2)
    threads = env._workers._threads
    env.itself = env
    del env
    collector = threading.Thread(target=gc.collect)
    collector.start()
    for thread in [collector, *threads]:
        thread.join(timeout=20)
        assert not thread.is_alive()
