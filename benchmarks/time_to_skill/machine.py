"""Describe the processor that a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from Common.device import fastest_precision


def describe_machine(threads: int) -> dict[str, str]:
    """Return the facts that a time depends on, by title.

    Args:
        threads: number of threads that the benchmark uses.
    """
    return {
        "processor": _processor(),
        "instructions in use": torch.backends.cpu.get_cpu_capability(),
        "precision": fastest_precision(torch.device("cpu")),
        "threads": f"{threads} of {len(os.sched_getaffinity(0))} cores",
        "load average": f"{os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
    }


def _processor() -> str:
    """Return the name of the processor, which Linux has in a file."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
