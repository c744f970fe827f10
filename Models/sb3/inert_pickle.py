"""Pickles, read without running anything: an exact list of names, each made an inert record."""

from __future__ import annotations

import io
import pickle
from collections.abc import Container
from typing import Any

from Models.sb3.pickle_limits import check_limits

# What Python's unpickler raises on bytes that no pickler wrote.
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
    *(MemoryError, OverflowError, ImportError, RecursionError),
)


class RefusedPickleError(Exception):
    """The pickle is damaged, or asks for a name that is not on the list."""


class Record:
    """What an allowed name makes: it keeps what the pickle gives it, and does nothing."""

    arguments: tuple[Any, ...]
    items: dict[Any, Any]
    state: Any = None

    def __new__(cls, *arguments: Any) -> Record:
        record = super().__new__(cls)
        record.arguments, record.items = arguments, {}
        return record

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _RecordUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, allowed: Container[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(content))
        self._allowed = allowed

    def find_class(self, module_name: str, global_name: str) -> type[Record]:
        if (module_name, global_name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        # A class of its own for each reference: a pickle that writes to one reaches no other.
        return type(global_name, (Record,), {})

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_inert(content: bytes, allowed: Container[tuple[str, str]]) -> Any:
    """What a pickle holds: plain values as they are, and a `Record` for everything else.

    Args:
        allowed: modules and names that it may ask for. None of them is ever imported.

    Raises:
        RefusedPickleError: says why.
    """
    try:
        check_limits(content)
        return _RecordUnpickler(content, allowed).load()
    except _DAMAGE as error:
        raise RefusedPickleError(f"{error!s:.200}") from None
