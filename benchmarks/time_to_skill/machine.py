"""Describe the processor that a benchmark ran on."""

from __future__ import annotations

import os
import platform

import torch

from Common.cores import available_cores
from Common.device import fastest_precision, processor_name


def describe_machine(threads: int) -> dict[str, str]:
    """Return the facts that a time depends on, by title.

    Args:
        threads: number of threads that the benchmark uses.
    """
    return {
        "processor": processor_name(),
        "instructions in use": torch.backends.cpu.get_cpu_capability(),
        "precision": fastest_precision(torch.device("cpu")),
        "threads": f"{threads} of {available_cores()} cores",
        "load average": f"{os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
    }
