"""Where tensors live, from the `--device` flag, and in how many threads they are computed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import overload

import numpy as np
import torch
from torch import Tensor

from Enviroment.errors import UserError


def check_device(name: str) -> None:
    """Raise UserError where no machine has a device of that name."""
    if re.fullmatch(r"auto|(cpu|cuda)(:\d{1,3})?", name) is None:
        raise UserError(f"`device` {name!r} is none of auto, cpu, cuda, cuda:N.")


def resolve_device(name: str) -> torch.device:
    """Return the device of `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: the name means nothing, or the device is not there.
    """
    check_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            found = f"only {count}" if count else "none"
            raise UserError(f"`device` {name}: this machine has {found}. Use `device` auto or cpu.")
    return device


@overload
def upload(values: np.ndarray, device: torch.device) -> Tensor: ...


@overload
def upload(values: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]: ...


def upload(
    values: np.ndarray | Mapping[str, np.ndarray], device: torch.device
) -> Tensor | dict[str, Tensor]:
    """Return an array, or each array of a dictionary, as a tensor on the device.

    On the CPU the tensor shares the array's memory. To a GPU the array travels from a copy in
    pinned memory, and nothing waits: what is computed next on the device sees the values, and the
    array may be written to at once.
    """
    if isinstance(values, Mapping):
        return {name: upload(array, device) for name, array in values.items()}
    tensor = torch.as_tensor(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


@contextlib.contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Torch computes with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
