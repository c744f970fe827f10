"""Import mujoco-warp, and check that it can compute on a device."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import torch

from Common.errors import UserError

INSTALL = "pip install -e '.[gpu]'"


def load_warp() -> tuple[Any, Any]:
    """Return the modules `warp` and `mujoco_warp`.

    They are silent: warp would print each module that it compiles or loads.

    Raises:
        UserError: they are not installed.
    """
    try:
        warp = importlib.import_module("warp")
        warp.config.log_level = warp.LOG_WARNING
        _start_quietly(warp)
        return warp, importlib.import_module("mujoco_warp")
    except ImportError as error:
        raise UserError(
            f"`simulator` warp needs mujoco-warp and warp-lang ({error}): {INSTALL}"
        ) from error


def _start_quietly(warp: Any) -> None:
    """Initialise warp without its warning on machines without a GPU, which is no mistake."""
    if torch.cuda.is_available():
        warp.init()
        return
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)  # the library's own C++ code writes to the descriptor
        warp.init()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def check_device(device: torch.device) -> None:
    """Check that warp computes on the device.

    Raises:
        UserError: the driver is too old for warp-lang, or the card is not among its devices.
    """
    if device.type != "cuda":
        return
    warp, _ = load_warp()
    if warp.is_cuda_available():
        return
    driver, built_with = (
        _version(warp.get_cuda_driver_version),
        _version(warp.get_cuda_toolkit_version),
    )
    raise UserError(
        f"`simulator` warp cannot use {device}: warp-lang {warp.__version__} was built for CUDA "
        f"{built_with}, and the driver supports {driver}. Update the NVIDIA driver (nvidia-smi "
        "shows its version), or use `simulator` gymnasium, or `device` cpu."
    )


def _version(ask: Any) -> str:
    """Return a version of CUDA as text."""
    try:
        return ".".join(map(str, ask()))
    except Exception:  # warp raises if there is none
        return "none"


def device_name(device: torch.device) -> str:
    """Return warp's name of a device of torch."""
    if device.type != "cuda":
        return "cpu"
    return f"cuda:{torch.cuda.current_device() if device.index is None else device.index}"
