"""Restore the state of `Enviroment.simulation.held` in a freshly reset environment.

Mutable objects are filled in place if the environment has one of the same kind, so that all
references to them see the change. Nothing is written before everything is known to fit.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import enum
import functools
import inspect
import random
import types
from collections import deque
from collections.abc import Callable
from os.path import isabs
from pathlib import Path, PurePath
from typing import Any

import mujoco
import numpy as np

from Common.errors import NoStateError, UserError
from Enviroment.simulation.held import (
    BIT_GENERATORS,
    DICTS,
    Held,
    attributes,
    fingerprint,
    fixed_name,
    holds_only_attributes,
    is_borrowed,
    path_of,
)
from Enviroment.simulation.mujoco_state import (
    fits_simulation,
    model_state,
    set_model,
    set_simulation,
)

_DAMAGED = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError, MemoryError),
)
_NOTHING = object()  # where the environment has no counterpart


def put(root: object, held: Held) -> None:
    """Restore the state of all objects reachable from an object.

    Raises:
        NoStateError: an object that cannot be stored differs from its saved state. The message
            names it. Nothing has been changed.
        UserError: `take` did not write this state.
    """
    putter = _Putter(held.chunks)
    try:
        putter.put(held.tree, root)
        for write in (*putter.writes, *putter.simulations):
            write()
    except _DAMAGED as error:
        raise UserError(f"The saved environments are damaged: {error!r}.") from error


class _Putter:
    """One parallel walk over a tree and the current objects of the environment."""

    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self.writes: list[Callable[[], Any]] = []
        self.simulations: list[Callable[[], Any]] = []  # last: arrays may share their memory
        self._chunks = chunks
        self._values: list[Any] = []  # by number
        self._used: dict[int, Any] = {}  # objects filled already, by id
        self._where: list[str] = []

    def put(self, tree: Any, old: Any) -> Any:
        # Absolute paths are specific to the machine.
        if isinstance(tree, str) and isinstance(old, str) and isabs(tree) and isabs(old):
            return old
        if not isinstance(tree, dict):
            return tree
        ((kind, content),) = tree.items()
        return _KINDS[kind](self, content, old)

    # -- what cannot change --------------------------------------------------------------------

    def _float(self, content: Any, old: Any) -> Any:
        return float(content)

    def _complex(self, content: Any, old: Any) -> Any:
        return complex(*map(float, content))

    def _path(self, content: Any, old: Any) -> Any:
        kind = type(old) if isinstance(old, PurePath) else Path
        return kind(self.put(content, str(old)))

    def _bytes(self, content: Any, old: Any) -> Any:
        return self._chunks[content]

    def _tuple(self, content: Any, old: Any) -> Any:
        return tuple(self._items(content, old))

    def _scalar(self, content: Any, old: Any) -> Any:
        return self._read(content)[()]

    def _enum(self, content: Any, old: Any) -> Any:
        path, name = content
        if not isinstance(old, enum.Enum) or path_of(type(old)) != path:
            raise self._misfit(path, old)
        return type(old)[name]

    def _kept(self, content: Any, old: Any) -> Any:
        return None if old is _NOTHING else old

    def _same(self, content: Any, old: Any) -> Any:
        return self._values[content]

    # -- containers ----------------------------------------------------------------------------

    def _list(self, content: Any, old: Any) -> Any:
        mine = self._mine(old, list)
        target = self._number([] if mine is None else mine)
        items = self._items(content, old)
        self.writes.append(lambda: target.__setitem__(slice(None), items))
        return target

    def _deque(self, content: Any, old: Any) -> Any:
        maxlen, trees = content
        fits = type(old) is deque and old.maxlen == maxlen and id(old) not in self._used
        target = self._number(old if fits else deque(maxlen=maxlen))
        self._fill(target, self._items(trees, old), target.extend)
        return target

    def _set(self, content: Any, old: Any) -> Any:
        mine = self._mine(old, set)
        target = self._number(set() if mine is None else mine)
        self._fill(target, self._items(content, _NOTHING), target.update)
        return target

    def _frozenset(self, content: Any, old: Any) -> Any:
        place = len(self._values)
        self._number(None)
        self._values[place] = frozenset(self._items(content, _NOTHING))
        return self._values[place]

    def _dict(self, content: Any, old: Any) -> Any:
        name, pairs = content
        mine = self._mine(old, DICTS[name])
        if mine is None and name == "defaultdict":
            raise self._misfit("collections.defaultdict", old)
        target = self._number(DICTS[name]() if mine is None else mine)
        items = {}
        for key_tree, tree in pairs:
            key = self.put(key_tree, _NOTHING)
            there = old[key] if isinstance(old, dict) and key in old else _NOTHING
            items[key] = self._at(f"[{key!r:.40}]", tree, there)
        self._fill(target, items, target.update)
        return target

    def _named(self, content: Any, old: Any) -> Any:
        path, trees = content
        if path_of(type(old)) != path or not isinstance(old, tuple):
            raise self._misfit(path, old)
        place = len(self._values)
        self._number(None)
        self._values[place] = tuple.__new__(type(old), self._items(trees, old))
        return self._values[place]

    # -- arrays --------------------------------------------------------------------------------

    def _array(self, content: Any, old: Any) -> Any:
        new = self._read(content)
        mine = self._mine(old, np.ndarray)
        if mine is None or mine.base is not None or not _alike(mine, new):
            return self._number(new)
        if not mine.flags.writeable:
            return self._number(new)
        self._number(mine)
        self.writes.append(lambda: np.copyto(mine, new))
        return mine

    def _borrowed(self, content: Any, old: Any) -> Any:
        new = self._read(content)
        if type(old) is not np.ndarray or not is_borrowed(old) or not _alike(old, new):
            raise self._misfit("view of a simulator's memory", old)
        self._number(old)
        if old.flags.writeable:
            self.writes.append(lambda: np.copyto(old, new))
        elif old.tobytes() != new.tobytes():
            raise self._misfit("view of a simulator's memory", old)
        return old

    def _view(self, content: Any, old: Any) -> Any:
        place = len(self._values)
        self._number(None)
        base_tree, dtype, shape, strides, start = content
        base = self.put(base_tree, old.base if type(old) is np.ndarray else _NOTHING)
        buffer = base if base.flags.c_contiguous else base.T
        self._values[place] = view = np.ndarray(shape, dtype, buffer, start, strides)
        return view

    def _objects(self, content: Any, old: Any) -> Any:
        shape, trees = content
        array = self._number(np.empty(shape, object))
        there = old.ravel().tolist() if type(old) is np.ndarray else _NOTHING
        array.reshape(-1)[:] = self._items(trees, there)
        return array

    def _read(self, content: Any) -> np.ndarray:
        dtype, shape, order, chunk = content
        flat = np.frombuffer(self._chunks[chunk], np.dtype(dtype))
        return flat.reshape(shape, order=order).copy(order)

    # -- simulators and generators -------------------------------------------------------------

    def _model(self, content: Any, old: Any) -> Any:
        layout, places = content
        if not isinstance(old, mujoco.MjModel) or model_state(old)[0] != layout:
            raise self._misfit("MuJoCo model", old)
        self.writes.append(lambda: set_model(old, [self._chunks[place] for place in places]))
        return self._number(old)

    def _simulation(self, content: Any, old: Any) -> Any:
        physics, derived = (self._read(part) for part in content)
        if not isinstance(old, mujoco.MjData) or not fits_simulation(old, physics, derived):
            raise self._misfit("MuJoCo simulation of the same model and version", old)
        self.simulations.append(lambda: set_simulation(old, physics, derived))
        return self._number(old)

    def _generator(self, content: Any, old: Any) -> Any:
        mine = self._mine(old, np.random.Generator)
        place = len(self._values)
        self._number(mine)
        bits = self.put(content, _NOTHING if mine is None else mine.bit_generator)
        if mine is None or bits is not mine.bit_generator:
            self._values[place] = np.random.Generator(bits)
        return self._values[place]

    def _bits(self, content: Any, old: Any) -> Any:
        name, tree = content
        mine = self._mine(old, BIT_GENERATORS[name])
        target = self._number(BIT_GENERATORS[name]() if mine is None else mine)
        return self._set_later(target, tree, lambda state: setattr(target, "state", state))

    def _legacy(self, content: Any, old: Any) -> Any:
        mine = self._mine(old, np.random.RandomState)
        target = self._number(np.random.RandomState() if mine is None else mine)
        return self._set_later(target, content, target.set_state)

    def _random(self, content: Any, old: Any) -> Any:
        mine = self._mine(old, random.Random)
        target = self._number(random.Random() if mine is None else mine)
        return self._set_later(target, content, target.setstate)

    def _set_later(self, target: Any, tree: Any, set_state: Callable[[Any], Any]) -> Any:
        state = self.put(tree, _NOTHING)
        self.writes.append(lambda: set_state(state))
        return target

    # -- objects and code ----------------------------------------------------------------------

    def _object(self, content: Any, old: Any) -> Any:
        path, trees = content
        kind = type(old)
        if path_of(kind) != path or not holds_only_attributes(kind):
            raise self._misfit(path, old)
        # Never change an object that compares by value: others may hold it as a key.
        is_mine = kind.__hash__ in (None, object.__hash__) and id(old) not in self._used
        target = old if is_mine else object.__new__(kind)
        self._used[id(old)] = old
        self._number(target)
        there = attributes(old)
        fields = {n: self._at(f".{n}", t, there.get(n, _NOTHING)) for n, t in trees.items()}
        self.writes.append(lambda: _set_attributes(target, fields))
        return target

    def _method(self, content: Any, old: Any) -> Any:
        tree, name = content
        place = len(self._values)
        self._number(None)
        owner = self.put(tree, getattr(old, "__self__", _NOTHING))
        method = inspect.getattr_static(type(owner), name)
        if not callable(method):
            raise self._misfit(f"method {name}", old)
        self._values[place] = method.__get__(owner)
        return self._values[place]

    def _function(self, content: Any, old: Any) -> Any:
        path, trees = content
        cells = getattr(old, "__closure__", None) or ()
        is_same = isinstance(old, types.FunctionType) and path_of(old) == path
        if not is_same or len(cells) != len(trees):
            raise self._misfit(f"function {path}", old)
        self._number(old)
        for cell, tree in zip(cells, trees, strict=True):
            if tree:
                self._put_cell(cell, tree[0])
        return old

    def _put_cell(self, cell: types.CellType, tree: Any) -> None:
        there = cell.cell_contents
        value = self.put(tree, there)
        if value is not there:
            self.writes.append(lambda: setattr(cell, "cell_contents", value))

    def _partial(self, content: Any, old: Any) -> Any:
        place = len(self._values)
        self._number(None)
        olds = [getattr(old, name, _NOTHING) for name in ("func", "args", "keywords")]
        function, args, keywords = map(self.put, content, olds)
        # The dictionary of keywords may be filled later, so read it when writing.
        self._values[place] = value = functools.partial(function)
        self.writes.append(lambda: value.__setstate__((function, args, keywords, {})))
        return value

    def _fixed(self, content: Any, old: Any) -> Any:
        if fixed_name(old) != content:
            raise self._misfit(content, old)
        return self._number(old)

    def _opaque(self, content: Any, old: Any) -> Any:
        path, digest = content
        if path_of(type(old)) != path or fingerprint(old) != digest:
            raise self._misfit(path, old)
        return self._number(old)

    # -- helpers -------------------------------------------------------------------------------

    def _mine(self, old: Any, kind: type) -> Any:
        """Return `old` if its class is exactly `kind` and it is not filled already; else None."""
        return old if type(old) is kind and id(old) not in self._used else None

    def _number(self, value: Any) -> Any:
        self._used[id(value)] = value
        self._values.append(value)
        return value

    def _items(self, trees: list[Any], old: Any) -> list[Any]:
        there = list(old) if isinstance(old, list | tuple | deque) else []
        there += [_NOTHING] * (len(trees) - len(there))
        return [self._at(f"[{i}]", tree, there[i]) for i, tree in enumerate(trees)]

    def _fill(self, target: Any, items: Any, add: Callable[[Any], Any]) -> None:
        self.writes += [target.clear, lambda: add(items)]

    def _at(self, name: str, tree: Any, old: Any) -> Any:
        self._where.append(name)
        value = self.put(tree, old)
        self._where.pop()
        return value

    def _misfit(self, was: str, old: Any) -> NoStateError:
        where = "".join(self._where).lstrip(".") or "environment"
        now = "nothing" if old is _NOTHING else f"a {path_of(type(old))}"
        return NoStateError(
            f"its {where} cannot be restored: it was a {was}, and after a reset it is {now}"
            + (" in another state" if now == f"a {was}" else "")
        )


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape


def _set_attributes(target: Any, fields: dict[str, Any]) -> None:
    own = getattr(target, "__dict__", {})
    slots = attributes(target).keys() - own.keys()
    for name in slots - fields.keys():
        object.__delattr__(target, name)
    own.clear()
    for name, value in fields.items():
        if name in slots or not hasattr(target, "__dict__"):
            object.__setattr__(target, name, value)
        else:
            own[name] = value


_KINDS: dict[str, Callable[[_Putter, Any, Any], Any]] = {
    name: getattr(_Putter, f"_{name}")
    for name in (
        *("float", "complex", "path", "bytes", "tuple", "scalar", "enum", "kept", "same"),
        *("list", "deque", "set", "frozenset", "dict", "named"),
        *("array", "borrowed", "view", "objects"),
        *("model", "simulation", "generator", "bits", "legacy", "random"),
        *("object", "method", "function", "partial", "fixed", "opaque"),
    )
}
