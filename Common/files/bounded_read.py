"""Reading files that others made: never a device, a pipe, or more than was reckoned with."""

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

MAX_JSON = 2**26  # bytes
_MAX_NESTING = 64  # lists and objects within each other
_MAX_INTEGER = 2**128  # the states of random generators are below


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file.

    Args:
        limit: bytes; no more than these are ever read.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else None
    if content is None or len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {_size(limit)}")
    return content


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """The value that a JSON file holds: `parse_json` of its content.

    Raises:
        OSError: as `read_bounded`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bounded(path, limit))


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text, which can be walked, compared and printed without a surprise.

    Raises:
        ValueError: it is no JSON, is nested more than 64 deep, or holds an integer of more than
            128 bits or a text that is no Unicode.
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
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with _open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_regular(path: Path) -> io.BufferedReader:
    try:
        # A pipe without a writer would otherwise wait for one.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except ValueError:  # a NUL in it
        raise OSError(errno.EINVAL, "its name is no usable one") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 2**20 else f"{limit >> 10} KiB"


def _checked_items(value: Any) -> Iterable[Any]:
    """What a container holds; of any other value, nothing, once it is checked."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        value.encode()  # half a surrogate pair raises ValueError
    elif isinstance(value, int) and not -_MAX_INTEGER < value < _MAX_INTEGER:
        raise ValueError("it holds an integer of more than 128 bits")
    return ()
