"""Worker threads and processes: failures reach the caller, and nothing is left behind."""

from __future__ import annotations

import gc
import multiprocessing as mp
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from Enviroment import make
from Enviroment.drawing import gl
from Enviroment.make import make_env
from Enviroment.tasks import TASKS

SMALL_REACHER = replace(TASKS["Reacher"], frame_size=(16, 24))


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


@pytest.mark.parametrize(
    ("renderer", "n_threads"), [("NVIDIA H100 80GB HBM3/PCIe/SSE2", 1), ("llvmpipe (LLVM 15)", 2)]
)
def test_a_gpu_draws_in_one_thread(
    renderer: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver has one lock, for which more threads only wait."""
    monkeypatch.setattr(gl, "renderer_name", lambda: renderer)
    monkeypatch.setattr(make, "available_cores", lambda: 2)
    before = threading.active_count()
    env = make_env(SMALL_REACHER, 3, 0)
    assert threading.active_count() - before == n_threads
    env.close()
