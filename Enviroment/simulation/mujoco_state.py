"""Convert MuJoCo models and simulations to plain arrays, and restore them."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np

# Time, positions, velocities, controls, applied forces and the solver's warm start: everything
# that MuJoCo's next step depends on.
_SPEC = int(mujoco.mjtState.mjSTATE_INTEGRATION)

# Derived quantities. The next step recomputes them, but Gymnasium's environments and renderers read
# some of them before that. `mj_forward` would not restore them: after a step they belong to the
# beginning of the last substep, not to the current positions.
_KNOWN = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis", "geom_xpos", "geom_xmat"),
    *("geom_xquat", "site_xpos", "site_xmat", "site_xquat", "cam_xpos", "cam_xmat"),
    *("light_xpos", "light_xdir", "subtree_com", "cinert", "cvel", "cacc", "cfrc_int", "cfrc_ext"),
    *("qacc", "qfrc_actuator", "qfrc_bias", "qfrc_passive", "qfrc_constraint"),
    *("actuator_length", "actuator_velocity", "actuator_force", "sensordata", "energy"),
)
# Older versions of MuJoCo have no quaternions of geoms and sites.
_DERIVED = tuple(name for name in _KNOWN if hasattr(mujoco.MjData, name))

_STRUCTS = ("opt", "stat", "vis")  # structs of a model besides its arrays
# Bytes of a model's field: a field above the first limit is stored separately; one above the
# second, such as a texture, is only compared.
_LARGE, _HUGE = 2**12, 2**20


def simulation_state(data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Return the physics state, float64 (S,), and the derived quantities, (D,)."""
    physics = np.empty(mujoco.mj_stateSize(data.model, _SPEC))
    mujoco.mj_getState(data.model, data, physics, _SPEC)
    return physics, np.concatenate([getattr(data, name).ravel() for name in _DERIVED])


def fits_simulation(data: mujoco.MjData, physics: np.ndarray, derived: np.ndarray) -> bool:
    """Return whether the arrays fit `set_simulation`."""
    sizes = (
        mujoco.mj_stateSize(data.model, _SPEC),
        sum(getattr(data, name).size for name in _DERIVED),
    )
    return (physics.size, derived.size) == sizes and physics.dtype == derived.dtype == np.float64


def set_simulation(data: mujoco.MjData, physics: np.ndarray, derived: np.ndarray) -> None:
    """Restore the arrays of `simulation_state`."""
    mujoco.mj_setState(data.model, data, physics, _SPEC)
    start = 0
    for name in _DERIVED:
        values = getattr(data, name)
        values[:] = derived[start : start + values.size].reshape(values.shape)
        start += values.size


def model_state(model: mujoco.MjModel) -> tuple[str, list[bytes]]:
    """Return the SHA-256 of a model's layout, including its huge fields, and the model's bytes.

    Large fields, which seldom change, are separate chunks.
    """
    layout, small, large = [], [], []
    for name, _, value in _fields(model):
        layout.append([name, value.dtype.str, value.shape])
        if value.nbytes > _HUGE:
            layout[-1].append(hashlib.sha256(value.tobytes()).hexdigest())
        else:
            (large if value.nbytes > _LARGE else small).append(value.tobytes())
    return hashlib.sha256(json.dumps(layout).encode()).hexdigest(), [b"".join(small), *large]


def set_model(model: mujoco.MjModel, chunks: list[bytes]) -> None:
    """Write the bytes of `model_state` to a model of the same layout. Skip equal fields."""
    start, large = 0, iter(chunks[1:])
    for name, owner, value in _fields(model):
        if value.nbytes > _HUGE:
            continue
        if value.nbytes > _LARGE:
            saved = next(large)
        else:
            saved = chunks[0][start : start + value.nbytes]
            start += value.nbytes
        if saved != value.tobytes():
            _set_field(owner, name, np.frombuffer(saved, value.dtype).reshape(value.shape))


def _set_field(owner: Any, name: str, numbers: np.ndarray) -> None:
    name = name.rpartition(".")[2]
    if numbers.ndim:
        getattr(owner, name)[...] = numbers
    else:
        setattr(owner, name, numbers.item())


def _fields(model: mujoco.MjModel) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Yield name, owner and value of all settable numbers, always in the same order."""
    for name in dir(model):
        if not name.startswith("_") and isinstance(value := getattr(model, name), np.ndarray):
            yield name, model, value
    for name in _STRUCTS:
        yield from _struct_fields(name, getattr(model, name))


def _struct_fields(prefix: str, struct: Any) -> Iterator[tuple[str, Any, np.ndarray]]:
    for name in dir(struct):
        if name.startswith("_") or isinstance(value := getattr(struct, name), type):
            continue
        if isinstance(value, np.ndarray):
            yield f"{prefix}.{name}", struct, value
        elif isinstance(value, int | float):
            yield f"{prefix}.{name}", struct, np.asarray(value)
        elif not callable(value):
            yield from _struct_fields(f"{prefix}.{name}", value)
