"""The states of all random generators that a run draws from, taken and put back to the bit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from Common.errors import UserError


def capture_generators(own: Mapping[str, np.random.Generator] | None = None) -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's global generators, and of every CUDA device's.

    Args:
        own: a run's further generators, by name.

    Returns: what `Common.runs.packing.pack` takes.
    """
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        # Asking would start CUDA where nothing uses it.
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "own": {name: generator.bit_generator.state for name, generator in (own or {}).items()},
    }


def restore_generators(
    states: Mapping[str, Any], own: Mapping[str, np.random.Generator] | None = None
) -> None:
    """Puts back what `capture_generators` took, into the same generators.

    Where the states are of CUDA devices that this machine has not, those stay as they are: the
    run goes on elsewhere then, and is not the same to the bit in any case.

    Raises:
        UserError: `own` are not the generators whose states were taken, or of another kind.
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
