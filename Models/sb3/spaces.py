"""Read Gymnasium spaces from their text in SB3's zip, which also holds their pickles."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from gymnasium import spaces

_PACKAGES = r"<class '(?:gymnasium|gym)\.spaces\.\w+\.(\w+)'>"
_NUMBER = re.compile(r"-?(?:inf|\d+\.?\d*(?:e[+-]?\d+)?)")
# One item of a dictionary's text: 'name': Box(-1.0, 1.0, (3,), float32)
_ITEM = re.compile(
    r"'(?P<name>[^'\\]+)'(?:: |, )(?P<kind>Box|Discrete|MultiDiscrete|MultiBinary)"
    r"\((?P<arguments>.*?)\)(?=, \(?'|\), \('|\)?\]?\)?\}?$)",
    re.DOTALL,
)
_BOX = re.compile(r"(.+?), (.+?), \(([\d, ]*)\), (\w+)", re.DOTALL)


# Characters. NumPy abridges large arrays, and the search for a dictionary's items is slow. Only the
# pickle has the complete arrays.
_LONGEST = 2**15


class UnreadableSpaceError(Exception):
    """The text does not define the space."""


def read_space(data: Any) -> spaces.Space:
    """Return the space of a value in a zip's `data`.

    Its bounds are read from NumPy's text, exact to 1e-8. The text of large arrays is abridged: then
    bounds are known only if they are the same everywhere.

    Raises:
        UnreadableSpaceError: the text does not define the space. The message names its kind.
    """
    texts = data if isinstance(data, dict) else {}
    if any(len(str(texts[name])) > _LONGEST for name in texts if name != ":serialized:"):
        raise UnreadableSpaceError("a space whose text is too long")
    text = data.get(":type:") if isinstance(data, dict) else None
    match = re.fullmatch(_PACKAGES, str(text))
    kind = match[1] if match else str(text or type(data).__name__)
    try:
        if kind == "Box":
            # The name in Gym up to 0.21.
            shape = tuple(int(n) for n in data["_shape" if "_shape" in data else "shape"])
            return _box(data["low"], data["high"], shape, data["dtype"])
        if kind == "Discrete":
            return _discrete(int(data["n"]), int(data.get("start", 0)))
        if kind == "MultiDiscrete":
            return spaces.MultiDiscrete([int(n) for n in _NUMBER.findall(data["nvec"])])
        if kind == "MultiBinary":
            return spaces.MultiBinary(int(data["n"]))
        if kind == "Dict":
            return _dict(str(data["spaces"]))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise UnreadableSpaceError(f"a {kind} that its text does not define: {error}") from error
    raise UnreadableSpaceError(f"a space of the kind {kind}")


def _box(low: str, high: str, shape: tuple[int, ...], dtype: str) -> spaces.Box:
    kind = np.dtype(dtype.rpartition(".")[2].strip("'<>"))
    return spaces.Box(_bounds(low, shape, kind), _bounds(high, shape, kind), shape, kind.type)


def _bounds(text: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = np.array([float(number) for number in _NUMBER.findall(str(text))])
    if len(set(values)) == 1:
        return np.full(shape, values[0], dtype)
    if len(values) != np.prod(shape):
        raise ValueError(f"the bounds {text!r}")
    return values.astype(dtype).reshape(shape)


def _discrete(n: int, start: int) -> spaces.Discrete:
    if start:
        raise ValueError("it does not start at 0, which SB3 does not support")
    return spaces.Discrete(n)


def _dict(text: str) -> spaces.Dict:
    remainder = _ITEM.sub("", text).replace("OrderedDict", "")
    if remainder.strip("{}[](), "):
        raise ValueError(f"{remainder!r}")
    items = [(m["name"], _item(m["kind"], m["arguments"])) for m in _ITEM.finditer(text)]
    if not items:
        raise ValueError("it is empty")
    # Pairs keep their order, in which features are concatenated.
    return spaces.Dict(items)


def _item(kind: str, arguments: str) -> spaces.Space:
    if kind == "Discrete":
        n, _, start = arguments.partition(", start=")
        return _discrete(int(n), int(start or 0))
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete([int(n) for n in _NUMBER.findall(arguments)])
    if kind == "MultiBinary":
        return spaces.MultiBinary(int(arguments))
    match = _BOX.fullmatch(arguments)
    if match is None:
        raise ValueError(f"Box({arguments})")
    low, high, shape, dtype = match.groups()
    return _box(low, high, tuple(int(n) for n in re.findall(r"\d+", shape)), dtype)
