"""The device, precision and number of threads that torch computes with."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from Common.commands.exits import print_once
from Common.device_name import check_device
from Common.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device of `auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: the name is unknown, or this machine lacks the device.
    """
    check_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            found = f"only {count} CUDA devices" if count else "no CUDA device"
            raise UserError(f"`device` {name}: this machine has {found}. Use `device` auto or cpu.")
    return device


@overload
def upload(values: np.ndarray, device: torch.device) -> Tensor: ...


@overload
def upload(values: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]: ...


def upload(
    values: np.ndarray | Tensor | Mapping[str, np.ndarray], device: torch.device
) -> Tensor | dict[str, Tensor]:
    """Return an array, or each array of a dictionary, as a tensor on the device.

    A tensor that is on the device already is returned itself. On the CPU the tensor shares the
    array's memory. For a GPU the array is copied to pinned memory and transferred asynchronously:
    later operations on the device see the values, and the array may be overwritten at once.
    """
    if isinstance(values, Mapping):
        return {name: upload(array, device) for name, array in values.items()}
    if isinstance(values, Tensor):
        return values.to(device)
    tensor = torch.as_tensor(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


def fastest_precision(device: torch.device) -> str:
    """Return "bfloat16" if the processor or the GPU supports it natively, else "float32"."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    # ATEN_CPU_CAPABILITY can limit the instructions that are used, as on an older processor.
    in_use = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    return "bfloat16" if device.type == "cpu" and capable and in_use else "float32"


def precision_on(device: torch.device, precision: str) -> str:
    """Return the precision in which a device runs a network of the given precision.

    A processor that only emulates bfloat16 takes 6 to 15 times as long as in float32, which
    represents every bfloat16 value. Print a note to standard error once per process in that case.
    """
    if precision != "bfloat16" or fastest_precision(device) == precision:
        return precision
    what = "This GPU" if device.type == "cuda" else "This processor"
    print_once(f"Note: {what} lacks bfloat16: a network trained in bfloat16 runs in float32.")
    return "float32"


def processor_name() -> str:
    """Return the name of the processor, which Linux has in a file."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


@contextlib.contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch compute with `n` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
