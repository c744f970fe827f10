"""Convert the Python state of an environment and its wrappers to plain data.

`take` walks through all objects reachable from an environment: its attributes, those of its
wrappers and of their helpers. `held_restore` writes the result into an environment with the same
settings that was reset with the same seed. Nothing is pickled, and the result names no code to run:
it only fills existing objects.

A tree is JSON: None, bool, int, finite float and str stand for themselves; every other value is a
dictionary with one key, its kind. Bytes are stored separately, in chunks.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import json
import logging
import math
import random
import sys
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.registration import EnvSpec

from Common.errors import NoStateError
from Enviroment.simulation.mujoco_state import model_state, simulation_state

_MADE_IN_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE
MAX_BYTES = 2**28  # per environment
DICTS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter, "defaultdict": defaultdict}
BIT_GENERATORS = {
    name: getattr(np.random, name) for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
}

# Objects that render, log, lock or describe. Their state does not influence an episode.
_KEPT = (EnvSpec, logging.Logger, type(threading.Lock()), type(threading.RLock()))
_DRAWING = ("mujoco", "gymnasium.envs.mujoco.mujoco_rendering")  # modules
_FIXED = (type, types.ModuleType, types.BuiltinFunctionType, np.dtype, np.ufunc)


@dataclass(frozen=True)
class Held:
    """The state of an object, as returned by `take`."""

    tree: Any  # JSON
    chunks: tuple[bytes, ...]  # all different


def take(root: object) -> Held:
    """Return the state of all objects reachable from an object.

    Raises:
        NoStateError: an object cannot be stored. The message names it and its path.
    """
    taker = _Taker()
    try:
        tree = taker.take(root)
    except RecursionError:
        raise NoStateError("its attributes are nested too deeply") from None
    return Held(tree, tuple(taker.chunks))


def path_of(kind: Any) -> str:
    """Return the full name of a class or function."""
    return f"{kind.__module__}.{kind.__qualname__}"


def holds_only_attributes(kind: type) -> bool:
    """Return whether attributes and slots are the whole state of a class's objects, without C data.

    The rule on sizes is the one by which Python itself decides what it can copy.
    """
    own = [base for base in kind.__mro__ if base not in (object, types.SimpleNamespace)]
    if not all(base.__flags__ & _MADE_IN_PYTHON for base in own):
        return False
    # Below 0: Python stores the dictionary before the object, outside of its size.
    size = object.__basicsize__ + 8 * (kind.__dictoffset__ > 0) + 8 * (kind.__weakrefoffset__ > 0)
    slots = copyreg._slotnames(kind)  # pyright: ignore[reportAttributeAccessIssue]
    return kind.__basicsize__ <= size + 8 * len(slots) and not kind.__itemsize__


def attributes(value: object) -> dict[str, Any]:
    """Return the attributes and slots of an object, without calling properties."""
    slots = copyreg._slotnames(type(value))  # pyright: ignore[reportAttributeAccessIssue]
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**own, **getattr(value, "__dict__", {})}


def is_borrowed(array: np.ndarray) -> bool:
    """Return whether an array's memory belongs to another library, such as MuJoCo's `data.qpos`."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base is not None and not isinstance(base, bytes | bytearray | memoryview)


def fixed_name(value: object) -> str | None:
    """Return the name of an object without state, such as a class; None for any other object."""
    if not isinstance(value, _FIXED):
        return None
    own = value.__name__ if isinstance(value, types.ModuleType | np.ufunc) else repr(value)
    return own if isinstance(value, np.dtype | np.ufunc | types.ModuleType) else path_of(value)


def fingerprint(value: object) -> str:
    """Return the SHA-256 of an object's `__reduce_ex__`, for objects of any class.

    Raises:
        NoStateError: the object cannot be reduced.
    """
    try:
        parts = _tensor_parts(value) or value.__reduce_ex__(4)
        if not isinstance(parts, str):  # the fourth and fifth are iterators
            parts = [list(p) if i in (3, 4) and p is not None else p for i, p in enumerate(parts)]
        held = take(parts)
    except Exception as error:  # third-party classes may raise anything
        raise NoStateError(f"a {path_of(type(value))}, whose state is unknown") from error
    digest = hashlib.sha256(json.dumps(held.tree).encode())
    for chunk in held.chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _tensor_parts(value: Any) -> tuple[Any, ...] | None:
    """Return the content of a torch tensor, whose pickles differ between copies; else None."""
    torch = sys.modules.get("torch")  # worker processes do not import it
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    content = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()
    return str(value.dtype), list(value.shape), content


class _Taker:
    """One walk over the objects. Mutable objects are numbered in the order of the walk."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, int] = {}
        self._size = 0
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # references, so that no id is reused
        self._where: list[str] = []

    def take(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if (simple := self._take_simple(value)) is not None:
            return simple
        if id(value) in self._numbers:
            return {"same": self._numbers[id(value)]}
        self._numbers[id(value)] = len(self._alive)
        self._alive.append(value)
        return self._take_container(value) or self._take_object(value)

    def _take_simple(self, value: Any) -> Any:
        """Return the tree of an immutable or irrelevant value; None for any other value."""
        kind = type(value)
        if kind is tuple:
            return {"tuple": self._items(value)}
        if kind is bytes:
            return {"bytes": self._chunk(value)}
        if kind is complex:
            return {"complex": [repr(value.real), repr(value.imag)]}
        if isinstance(value, enum.Enum):
            return {"enum": [path_of(kind), value.name]}
        if isinstance(value, np.generic) and value.dtype.kind not in "OV":
            return {"scalar": self._array(np.asarray(value))}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        if isinstance(value, _KEPT) or _draws(kind):
            return {"kept": None}
        return None

    def _take_container(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return {"list": self._items(value)}
        if kind in (set, frozenset):
            return {kind.__name__: self._items(value)}
        if kind is deque:
            return {"deque": [value.maxlen, self._items(value)]}
        if kind in DICTS.values():
            pairs = [[self.take(k), self._at(f"[{k!r:.40}]", v)] for k, v in value.items()]
            return {"dict": [kind.__name__, pairs]}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return {"named": [path_of(kind), self._items(value)]}
        if isinstance(value, np.ndarray) and kind is np.ndarray:
            return self._take_array(value)
        return None

    def _take_object(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, mujoco.MjModel):
            layout, parts = model_state(value)
            return {"model": [layout, [self._chunk(part) for part in parts]]}
        if isinstance(value, mujoco.MjData):
            return {"simulation": [self._array(part) for part in simulation_state(value)]}
        if kind is np.random.Generator:
            return {"generator": self.take(value.bit_generator)}
        if isinstance(value, np.random.BitGenerator):
            return {"bits": [kind.__name__, self.take(value.state)]}
        if kind is np.random.RandomState:
            return {"legacy": self.take(value.get_state(legacy=False))}
        if kind is random.Random:
            return {"random": self.take(value.getstate())}
        if (code := self._take_code(value)) is not None:
            return code
        if holds_only_attributes(kind) and not isinstance(value, types.FunctionType):
            fields = attributes(value).items()
            return {"object": [path_of(kind), {n: self._at(f".{n}", v) for n, v in fields}]}
        return {"opaque": [path_of(kind), self._fingerprint(value)]}

    def _take_code(self, value: Any) -> Any:
        """Return the tree of a function, class or module: its name, and closed-over values."""
        if isinstance(value, types.MethodType | types.BuiltinMethodType):
            owner = value.__self__
            if owner is not None and not isinstance(owner, type | types.ModuleType):
                return {"method": [self.take(owner), value.__name__]}
        if isinstance(value, types.FunctionType):
            return {"function": [path_of(value), [self._cell(c) for c in value.__closure__ or ()]]}
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return {"partial": [self.take(part) for part in parts]}
        name = fixed_name(value)
        return None if name is None else {"fixed": name}

    def _take_array(self, value: np.ndarray) -> Any:
        if value.dtype.names is not None:
            return None
        if value.dtype.hasobject:
            return {"objects": [list(value.shape), self._items(value.ravel().tolist())]}
        if is_borrowed(value):
            return {"borrowed": self._array(value)}
        base = value.base
        if type(base) is np.ndarray and (base.flags.c_contiguous or base.flags.f_contiguous):
            place = value.ctypes.data - base.ctypes.data
            shape = [value.dtype.str, list(value.shape), list(value.strides), place]
            return {"view": [self.take(base), *shape]}
        return {"array": self._array(value)}

    def _array(self, value: np.ndarray) -> list[Any]:
        order = "C" if value.flags.c_contiguous or not value.flags.f_contiguous else "F"
        return [
            value.dtype.str,
            list(value.shape),
            order,
            self._chunk(value.tobytes(order)),
        ]

    def _cell(self, cell: types.CellType) -> Any:
        try:
            return [self.take(cell.cell_contents)]
        except ValueError:  # an empty cell
            return []

    def _items(self, values: Iterable[Any]) -> list[Any]:
        return [self._at(f"[{i}]", value) for i, value in enumerate(values)]

    def _at(self, name: str, value: Any) -> Any:
        self._where.append(name)
        tree = self.take(value)
        self._where.pop()
        return tree

    def _chunk(self, content: bytes) -> int:
        if content not in self.chunks:
            self._size += len(content)
            if self._size > MAX_BYTES:
                raise NoStateError(f"it holds more than {MAX_BYTES >> 20} MiB")
        return self.chunks.setdefault(content, len(self.chunks))

    def _fingerprint(self, value: Any) -> str:
        try:
            return fingerprint(value)
        except NoStateError as error:
            where = "".join(self._where).lstrip(".")
            raise NoStateError(f"its {where or 'state'} is or holds {error}") from error


def _draws(kind: type) -> bool:
    if issubclass(kind, mujoco.MjModel | mujoco.MjData):
        return False
    return any(kind.__module__ == m or kind.__module__.startswith(f"{m}.") for m in _DRAWING)
