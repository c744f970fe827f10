"""Nested state, such as an optimizer's, as tensors by name and plain JSON, and back to the bit.

Numbers, text and their containers go into the JSON; tensors and arrays leave their name there.
Tuples, keys that are numbers, and infinities come back as what they were. So do channels-last
tensors: torch's fused optimizers pair a weight with its moments by their place in memory, and would
take those of other weights if the moments came back in another order. And so do arrays that lie
column by column: the last bits of a matrix product depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Common.errors import UserError

# What `unpack` runs into in what `pack` did not make, torch's and NumPy's own errors included.
_NOT_PACKED = (
    *(KeyError, TypeError, ValueError, AttributeError, RecursionError),
    *(RuntimeError, OverflowError),
)


def pack(state: Any) -> tuple[dict[str, Tensor], Any]:
    """The tensors in `state`, on the CPU and named by where they lie, and all else as JSON.

    The tensors are those of `state` where they are on the CPU, not copies.

    Args:
        state: None, bool, int, float, str, tensor or NumPy array, or a dict (keys: str or int),
            list or tuple of such.

    Raises:
        TypeError: it holds anything else, and where.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(state, "state", tensors)


def unpack(tensors: Mapping[str, Tensor], values: Any) -> Any:
    """What `pack` was given. Dictionaries of any class come back as `dict`.

    Raises:
        UserError: the two are not what `pack` made.
    """
    try:
        return _unpack(values, tensors)
    except _NOT_PACKED as error:
        raise UserError(
            f"The stored state is not one that this version wrote ({error!r}). Use the version "
            "that wrote it."
        ) from error


def host_tensor(value: Tensor | np.ndarray) -> Tensor:
    """The value as a tensor on the CPU without a graph; a copy only where it has to be."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    array = np.asarray(value, order="C")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _pack(state: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if state is None or isinstance(state, bool | int | str):
        return state
    if isinstance(state, float):
        return float(state) if math.isfinite(state) else {"float": str(float(state))}
    if isinstance(state, list):
        return [_pack(item, f"{where}.{i}", tensors) for i, item in enumerate(state)]
    if isinstance(state, tuple):
        return {"tuple": [_pack(item, f"{where}.{i}", tensors) for i, item in enumerate(state)]}
    if isinstance(state, Mapping):
        _check_keys(state, where)
        items = {key: _pack(item, f"{where}.{key}", tensors) for key, item in state.items()}
        if all(isinstance(key, str) for key in items):
            return {"dict": items}
        return {"items": [[key, item] for key, item in items.items()]}
    if isinstance(state, Tensor):
        kind = "channels_last" if _is_channels_last(state) else "tensor"
        return {kind: _add(tensors, where, host_tensor(state))}
    if isinstance(state, np.ndarray) and state.dtype.kind in "biuf":
        kind = "array" if state.flags.c_contiguous or not state.flags.f_contiguous else "columns"
        return {kind: _add(tensors, where, host_tensor(state))}
    raise TypeError(f"{where} is a {type(state).__name__}, which cannot be stored: {state!r:.80}")


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _check_keys(state: Mapping[Any, Any], where: str) -> None:
    for key in state:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(f"{where} has the key {key!r}, which is neither text nor a number.")


def _add(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> str:
    while name in tensors:  # {"a.b": ...} beside {"a": {"b": ...}}
        name += "'"
    tensors[name] = tensor
    return name


def _unpack(values: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(values, list):
        return [_unpack(item, tensors) for item in values]
    if not isinstance(values, dict):
        return values
    ((kind, content),) = values.items()
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content.items()}
    if kind == "items":
        return {key: _unpack(item, tensors) for key, item in content}
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    if kind == "float":
        return float(content)
    if kind == "tensor":
        return tensors[content]
    if kind == "channels_last":
        return tensors[content].contiguous(memory_format=torch.channels_last)
    if kind == "array":
        return tensors[content].numpy()
    if kind == "columns":
        return np.asfortranarray(tensors[content].numpy())
    raise ValueError(f"a {kind}")
