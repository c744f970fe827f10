"""Read pickles without running code: every allowed name becomes an inert record."""

from __future__ import annotations

import io
import pickle
from collections.abc import Container
from typing import Any

from Models.sb3.pickle_limits import check_limits

# Errors of Python's unpickler on invalid bytes.
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
    *(MemoryError, OverflowError, ImportError, RecursionError),
)


class RefusedPickleError(Exception):
    """The pickle is damaged, or needs a name that is not allowed."""


class Record:
    """Stands for an object of an allowed name: it stores the pickle's arguments and state only."""

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
            raise pickle.UnpicklingError(f"it needs {module_name}.{global_name}")
        # A new class per reference: a pickle that writes to one cannot reach another.
        return type(global_name, (Record,), {})

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_inert(content: bytes, allowed: Container[tuple[str, str]]) -> Any:
    """Return the content of a pickle: plain values, and a `Record` for everything else.

    Args:
        allowed: modules and names that the pickle may need. They are never imported.

    Raises:
        RefusedPickleError: the pickle is damaged, or needs another name.
    """
    try:
        check_limits(content)
        return _RecordUnpickler(content, allowed).load()
    except _DAMAGE as error:
        raise RefusedPickleError(f"{error!s:.200}") from None
