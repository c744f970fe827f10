"""Where tensors live, from the `--device` flag, and in how many threads they are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from Enviroment.errors import UserError


def resolve_device(name: str) -> torch.device:
    """`auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: the name means nothing, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} is none of auto, cpu, cuda, cuda:N.")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            found = f"only {count}" if count else "none"
            raise UserError(f"--device {name}: this machine has {found}. Use --device auto or cpu.")
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
