"""Split nested state, such as an optimizer's, into named tensors and JSON; rebuild it bit-for-bit.

Numbers, text and containers go into the JSON; tensors and arrays are referenced there by name.
Tuples, numeric keys and infinities are preserved. So are memory layouts. Channels-last: torch's
fused optimizers pair a weight with its moments by their position in memory, and would pair them
wrongly if the moments came back in another layout. Column-major arrays: the last bits of a matrix
product depend on the layout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Common.errors import UserError

# Errors of `unpack` on input that `pack` did not write, including those of torch and NumPy.
_NOT_PACKED = (
    *(KeyError, TypeError, ValueError, AttributeError, RecursionError),
    *(RuntimeError, OverflowError),
)


def pack(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of `state` on the CPU, named by their paths, and everything else as JSON.

    Tensors that are on the CPU already are not copied.

    Args:
        state: None, bool, int, float, str, tensor or NumPy array, or a dict (keys: str or int),
            list or tuple of such.

    Raises:
        TypeError: it holds any other type. The message names the path.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(state, "state", tensors)


def unpack(tensors: Mapping[str, Tensor], values: Any) -> Any:
    """Return the state that `pack` was called with. Mappings of any class come back as `dict`.

    Raises:
        UserError: `pack` did not write these tensors and values.
    """
    try:
        return _unpack(values, tensors)
    except _NOT_PACKED as error:
        raise UserError(
            f"This version did not write the stored state ({error!r}). Use the version that wrote "
            "it."
        ) from error


def host_tensor(value: Tensor | np.ndarray) -> Tensor:
    """Return the value as a detached tensor on the CPU. Copy it only if necessary."""
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
    while name in tensors:  # {"a.b": ..., "a": {"b": ...}}
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
