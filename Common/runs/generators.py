"""Capture and restore the states of all random generators of a run, bit-for-bit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from Common.errors import UserError


def capture_generators(own: Mapping[str, np.random.Generator] | None = None) -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy, torch and all CUDA devices.

    Args:
        own: further generators of a run, by name.

    Returns: a state that `Common.runs.packing.pack` accepts.
    """
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        # A query would initialize CUDA in runs that do not use it.
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "own": {name: generator.bit_generator.state for name, generator in (own or {}).items()},
    }


def restore_generators(
    states: Mapping[str, Any], own: Mapping[str, np.random.Generator] | None = None
) -> None:
    """Restore the states of `capture_generators` into the same generators.

    States of CUDA devices that this machine lacks are ignored: a run that continues on another
    machine does not repeat bit-for-bit in any case.

    Raises:
        UserError: `own` has other names, or generators of another kind, than at the capture.
    """
    own = own or {}
    if states["own"].keys() != own.keys():
        raise UserError(
            f"The states are of the generators {sorted(states['own'])}, not {sorted(own)}."
        )
    try:
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.set_rng_state(states["torch"])
        for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
        for name, generator in own.items():
            generator.bit_generator.state = states["own"][name]
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"The generators' states do not fit this version: {error}.") from error
