"""Read untrusted files: never a device or a pipe, never more than a given size."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from Common.errors import UserError

MAX_JSON = 2**26  # bytes
_MAX_NESTING = 64  # lists and objects within each other
_MAX_INTEGER = 2**128  # states of random generators are smaller


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the content of a file.

    Args:
        limit: maximum size in bytes.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else None
    if content is None or len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {_size(limit)}")
    return content


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """Return the value of a JSON file, see `parse_json`.

    Raises:
        OSError: as `read_bounded`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bounded(path, limit))


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file; None if there is no file.

    Raises:
        UserError: the file cannot be read, or does not hold a JSON object.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object.")
    return value


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text. It is safe to traverse, compare and print.

    Raises:
        ValueError: the text is not JSON, is nested more than 64 deep, or holds an integer of more
            than 128 bits or a string that is not valid Unicode.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {_MAX_NESTING} deep") from None
    level: list[Any] = [value]
    for _ in range(_MAX_NESTING):
        level = [item for container in level for item in _checked_items(container)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {_MAX_NESTING} deep")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with _open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_regular(path: Path) -> io.BufferedReader:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "its name is not usable") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 2**20 else f"{limit >> 10} KiB"


def _checked_items(value: Any) -> Iterable[Any]:
    """Return the items of a container. Check any other value, and return nothing."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        value.encode()  # half a surrogate pair raises ValueError
    elif isinstance(value, int) and not -_MAX_INTEGER < value < _MAX_INTEGER:
        raise ValueError("it holds an integer of more than 128 bits")
    return ()
