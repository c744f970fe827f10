"""Convert JSON to annotated types: a dataclass declares a format, and this module checks it."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**63  # integers of NumPy and torch have 64 bits


def typed(annotation: Any, value: Any, where: str = "it") -> Any:
    """Convert a JSON value to an annotated type: lists to tuples, objects to dataclasses.

    Args:
        annotation: None, bool, int, float, str, Any, Literal, tuple, list, dict or Mapping, a
            dataclass of such, or a union of them. An int is accepted as a float.
        value: None, bool, int, float, str, list or dict.
        where: name of the value in messages.

    Raises:
        ValueError: the value has another type, an integer has more than 64 bits, a float is not
            finite, or the keys of an object are not those of the dataclass.
        UserError: raised by a dataclass.
    """
    if annotation is Any:
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is Literal:
        # Compare the types too: in Python, True == 1.
        if not any(type(value) is type(known) and value == known for known in arguments):
            known = ", ".join(map(str, arguments))
            raise ValueError(f"{where} is {_shown(value)}, not one of {known}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is list:
        return list(_tuple((*arguments, ...), value, where))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _check_object(value, where)
        items = ((key, item, f"{where}[{key!r:.40}]") for key, item in value.items())
        return {key: typed(arguments[1], item, name) for key, item, name in items}
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _dataclass(annotation, value, where)
    return _scalar(annotation, value, where)


def typed_fields(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataclass fields that `values` has, each converted by `typed`.

    Other keys of `values` are ignored; missing fields are left out.

    Raises:
        ValueError, UserError: as `typed`.
    """
    hints = _hints(cls)
    return {
        field.name: typed(hints[field.name], values[field.name], field.name)
        for field in dataclasses.fields(cls)
        if field.name in values
    }


def _dataclass(cls: type, value: Any, where: str) -> Any:
    _check_object(value, where)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(value.keys() - fields.keys())
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - value.keys())
    if unknown or missing:
        raise ValueError(f"{where} lacks {missing} and has {unknown} too many"[:400])
    return cls(**typed_fields(cls, value))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _one_of(annotations: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in annotations:
        return None
    errors = []
    for annotation in annotations:
        if annotation is type(None):
            continue
        try:
            return typed(annotation, value, where)
        except ValueError as error:
            errors.append(error)
    raise errors[-1]


def _tuple(annotations: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is {_shown(value)}, not a list")
    if len(annotations) == 2 and annotations[1] is Ellipsis:
        annotations = (annotations[0],) * len(value)
    if len(value) != len(annotations):
        raise ValueError(f"{where} has {len(value)} items, not {len(annotations)}")
    return tuple(
        typed(annotation, item, f"{where}[{index}]")
        for index, (annotation, item) in enumerate(zip(annotations, value, strict=True))
    )


def _scalar(annotation: Any, value: Any, where: str) -> Any:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    accepted = (int, float) if annotation is float else (annotation,)
    if type(value) not in accepted:
        raise ValueError(f"{where} is {_shown(value)}, not {names.get(annotation, annotation)}")
    if type(value) is int and not -_LARGEST <= value < _LARGEST:
        raise ValueError(f"{where} is an integer of more than 64 bits")
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, which is not finite")
    return value


def _check_object(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_shown(value)}, not an object")


def _shown(value: Any) -> str:
    return f"{value!r:.40}" if not isinstance(value, list | dict) else f"a {type(value).__name__}"
