"""Where tensors live, from the `--device` flag, in which precision and how many threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from Enviroment.errors import UserError
from Enviroment.exits import say_once


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


def fastest_precision(device: torch.device) -> str:
    """What to convolve in: "bfloat16" where the processor or the GPU has it, else "float32"."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if device.type == "cpu" and capable else "float32"


def precision_on(device: torch.device, precision: str) -> str:
    """What a device computes in where a network is in this precision.

    A processor that only emulates bfloat16 takes 6 to 15 times as long as in float32, which holds
    all that bfloat16 does. A line on standard error says once that it is so.
    """
    if precision != "bfloat16" or fastest_precision(device) == precision:
        return precision
    what = "This GPU" if device.type == "cuda" else "This processor"
    say_once(f"Note: {what} has no bfloat16: a network that was trained in it runs in float32.")
    return "float32"


@contextlib.contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Torch computes with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
