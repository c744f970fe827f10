"""Measure the costs of a deployed student: time per action, and size."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from gymnasium import spaces

from Common.device import torch_threads
from Models.student.bundle import WEIGHTS_FILE
from Models.student.policy import StudentPolicy

_WARM_UP, _TIMED = 50, 500  # actions


def measure_latency(student: StudentPolicy) -> dict[str, float]:
    """Measure milliseconds per action on the CPU: one observation, one thread, after warm-up.

    The time is that of `predict`, from an observation's arrays to the action's array, as on a
    robot. It includes preprocessing.

    Returns:
        `latency_p50_ms` and `latency_p99_ms`: the median and the 99th percentile.
    """
    space = student.observation_space
    assert isinstance(space, spaces.Dict)
    space.seed(0)
    obs = space.sample()
    seconds, state = np.empty(_TIMED), None
    with torch_threads(1):
        for i in range(-_WARM_UP, _TIMED):
            started = time.perf_counter()
            state = student.predict(obs, state, deterministic=True)[1]
            if i >= 0:
                seconds[i] = time.perf_counter() - started
    p50, p99 = np.percentile(1e3 * seconds, [50, 99])
    return {"latency_p50_ms": float(p50), "latency_p99_ms": float(p99)}


def measure_size(student: StudentPolicy, bundle: Path) -> dict[str, int]:
    """Return `parameters`, including the critic's, and `bytes` of the bundle's weights."""
    return {
        "parameters": sum(p.numel() for p in student.parameters()),
        "bytes": (bundle / WEIGHTS_FILE).stat().st_size,
    }
