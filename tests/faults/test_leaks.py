"""Environments that are made over and over, or draw for long, keep neither memory nor files."""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Enviroment.make import make_env
from Enviroment.simulation.workers import WorkerKind
from Enviroment.tasks import TASKS
from Enviroment.vector import FrameVecEnv

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SMALL_REACHER = replace(TASKS["Reacher"], frame_size=(16, 24))
WORKERS: dict[WorkerKind, int | None] = {"serial": None, "thread": 2, "process": 2}
ACTIONS = np.zeros((2, 2), np.float32)


def make(kind: WorkerKind, n_workers: int | None) -> FrameVecEnv:
    env = make_env(SMALL_REACHER, 2, 0, workers=kind, n_workers=n_workers)
    assert isinstance(env, FrameVecEnv)
    env.reset()
    return env


def processes() -> list[str]:
    """This one and its workers."""
    return ["self", *(str(child.pid) for child in mp.active_children())]


def resident_mib() -> float:
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in processes())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def n_descriptors() -> int:
    return sum(len(os.listdir(f"/proc/{p}/fd")) for p in processes())


@pytest.mark.parametrize(
    ("kind", "n_workers", "n_cycles"),
    [
        ("thread", 2, 20),
        ("process", 2, 3),
        pytest.param("serial", None, 200, marks=pytest.mark.soak),
        pytest.param("thread", 2, 200, marks=pytest.mark.soak),
        # One worker of both: each is a Python process that has to start.
        pytest.param("process", 1, 200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_making_drawing_and_closing_leaks_nothing(kind, n_workers, n_cycles):
    def cycle() -> None:
        env = make(kind, n_workers)
        env.step(ACTIONS)
        env.close()

    for _ in range(2 if kind == "process" else 10):  # drivers and allocators fill their caches
        cycle()
    gc.collect()
    memory, descriptors = resident_mib(), n_descriptors()
    for _ in range(n_cycles):
        cycle()
    gc.collect()
    assert n_descriptors() <= descriptors
    # One renderer that is not freed keeps 8 MiB. The allocator's arenas for threads come and go.
    assert resident_mib() - memory < 20.0


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", WORKERS)
def test_fifty_thousand_frames_leak_nothing(kind):
    env = make(kind, WORKERS[kind])
    for _ in range(2_500):  # 50 episodes each, while caches fill
        env.step(ACTIONS)
    gc.collect()
    memory, descriptors = resident_mib(), n_descriptors()
    for _ in range(25_000):  # two frames each
        env.step(ACTIONS)
    gc.collect()
    assert n_descriptors() <= descriptors
    assert resident_mib() - memory < 10.0  # 0.2 KiB a frame, half of one
    env.close()
