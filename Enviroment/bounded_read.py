"""Reading files that others made: never a device, a pipe, or more than was reckoned with."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file.

    Args:
        limit: bytes; no more than these are ever read.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    # A pipe without a writer would otherwise wait for one.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        content = file.read(limit + 1) if state.st_size <= limit else None
    if content is None or len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit >> 20} MiB")
    return content
