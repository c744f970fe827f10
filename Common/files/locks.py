"""One writer per folder, among processes and machines that share it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from Common.errors import UserError
from Common.files.durable import is_file_at, writing

LOCK_FILE = ".lock"
_held: dict[Path, int] = {}  # descriptors of the lock files, by the folders this process has locked


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against all other processes inside the block. Make it if missing.

    The kernel releases the lock when the process ends, however it ends. A folder that was made
    here and is still empty is removed at the end of the block.

    Raises:
        UserError: another process, which the message names, has the lock; or the folder cannot be
            written.
    """
    path = folder / LOCK_FILE
    missing = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path)
    _held[folder] = descriptor
    try:
        yield
    finally:
        del _held[folder]
        if is_file_at(descriptor, path):
            path.unlink()
        os.close(descriptor)
        if missing:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def check_in_place(path: Path) -> None:
    """Check before a write that the folder around the path is still the locked one.

    Raises:
        UserError: the folder was moved, deleted or replaced.
    """
    for folder, descriptor in _held.items():
        if path.is_relative_to(folder) and not is_file_at(descriptor, folder / LOCK_FILE):
            raise UserError(
                f"{folder} was moved, deleted or replaced while it was being written. Nothing more "
                "is written. If it was moved, continue with `resume` and its new path as `output`."
            )


def _open_locked(path: Path) -> int:
    """Return a descriptor of the lock file, which holds the lock until it is closed."""
    while True:
        # Opened for writing, because network file systems lock no read-only descriptors.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_file_at(descriptor, path):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
            os.close(descriptor)  # its holder has just removed the file: try again
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise UserError(
                f"{path.parent} is being written by {holder}. Wait for it, stop it, or name "
                "another `folder`."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
