"""Where tensors live, from the `--device` flag, and in how many threads they are computed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

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


@contextlib.contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Torch computes with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
