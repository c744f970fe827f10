"""One writer a folder, among processes and machines that share it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from Common.errors import UserError
from Common.files.durable import writing

LOCK_FILE = ".lock"
_held: dict[Path, int] = {}  # folders that this process has locked: the descriptors of their locks


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps every other process out of a folder, which is made if missing.

    The kernel gives the lock back when the process ends, however it ends. What this made and
    nobody used, the block's end removes.

    Raises:
        UserError: another process has the lock, and which; or the folder cannot be written.
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
        if _is_file_at(descriptor, path):
            path.unlink()
        os.close(descriptor)
        if missing:
            with contextlib.suppress(OSError):  # not empty: it was used
                folder.rmdir()


def check_in_place(path: Path) -> None:
    """Make sure, before something is written, that the folder around it is the one that was locked.

    Raises:
        UserError: somebody has moved or deleted it; says what to do.
    """
    for folder, descriptor in _held.items():
        if path.is_relative_to(folder) and not _is_file_at(descriptor, folder / LOCK_FILE):
            raise UserError(
                f"{folder} was moved, deleted or replaced while it was being written. Nothing more "
                "is written. Where it was moved, go on by `resume` with its new place as `output`."
            )


def _open_locked(path: Path) -> int:
    """A descriptor of the lock's file, which holds the lock until it is closed."""
    while True:
        # Writable, although nothing need be written: network file systems lock no others.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_at(descriptor, path):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
            os.close(descriptor)  # its holder has just removed it: another try
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


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False
