"""Write files and folders atomically: complete or absent, whatever stops the process or machine.

Everything is written beside its final name, synced to the disk and renamed once; then the folder
that holds the name is synced too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from Common.errors import UserError


def partial_path(path: Path) -> Path:
    """Return the path where a file or folder is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def _partial_path_of_its_own(path: Path) -> Path:
    """Return such a path that no other process uses."""
    return partial_path(path.with_name(f"{path.name}.{secrets.token_hex(8)}"))


def sync(path: Path) -> None:
    """Sync the bytes of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` at the end of the block, unless the block raises.

    Of several processes with one path, each replaces it by a whole file.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished, file = _open_unfinished(path)
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(path)
            sync(path.parent)
        except BaseException:
            if is_file_at(file.fileno(), unfinished):
                unfinished.unlink()
            raise


def _open_unfinished(path: Path) -> tuple[Path, BinaryIO]:
    """Open a new file beside `path`, locked until it is closed. Return its path too.

    It replaces what a killed process left. A file that another process is writing is left to it,
    and this one has a name of its own.
    """
    unfinished = partial_path(path)
    while True:
        try:
            file = unfinished.open("xb")  # new, so that nothing is written through a link
        except FileExistsError:
            if not _remove_unlocked(unfinished):
                unfinished = _partial_path_of_its_own(path)
            continue
        with contextlib.suppress(OSError):  # files cannot be locked there
            fcntl.flock(file, fcntl.LOCK_EX)
        if is_file_at(file.fileno(), unfinished):
            return unfinished, file
        file.close()  # it was removed before it was locked: try again


def _remove_unlocked(path: Path) -> bool:
    """Remove a file or a link, and return True; False if a process is writing the file."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:  # files cannot be locked there
        pass
    try:
        if is_file_at(descriptor, path):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True


def is_file_at(descriptor: int, path: Path) -> bool:
    """Return whether a path is that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_file(path: Path, content: bytes) -> None:
    """Replace the content of a file atomically, and make the folders above it.

    Raises:
        UserError: the file cannot be written. It is unchanged.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)


@contextlib.contextmanager
def writing(what: Path | str, advice: str = "") -> Iterator[None]:
    """Turn an OSError of the block into a UserError: "<what> cannot be written: ... <advice>"."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{what} cannot be written: {why}. {advice}".rstrip()) from error


@contextlib.contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Make a folder that becomes `folder` at the end of the block, unless the block raises.

    Until then it has a name of its own, so that two commands with one output do not write into one
    another's. What a killed process left is removed.

    Raises:
        FileExistsError: `folder` exists. It is unchanged.
        OSError: the folder cannot be written.
    """
    if not folder.parent.is_dir():
        folder.parent.mkdir(parents=True)
        sync(folder.parent.parent)
    _remove_abandoned(folder)
    unfinished, descriptor = _make_unfinished(folder)
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            sync(path)
        sync(unfinished)
        if os.path.lexists(folder):
            raise FileExistsError(f"{folder} is there already")
        unfinished.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _make_unfinished(folder: Path) -> tuple[Path, int]:
    """Make the folder that is written before it is published.

    Returns: its path, and a descriptor that locks it against `_remove_abandoned` until closed.
    """
    while True:
        unfinished = _partial_path_of_its_own(folder)
        unfinished.mkdir()
        with contextlib.suppress(FileNotFoundError):  # removed before it was locked: try again
            descriptor = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
            # Where folders cannot be locked, nobody takes it for abandoned either.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if unfinished.is_dir():
                return unfinished, descriptor
            os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove the unfinished folders of `publishing` that no process writes into any more."""
    # No other names: `.NAME.partial` may be a download that continues.
    name = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.partial")
    for path in list(folder.parent.iterdir()):
        if not name.fullmatch(path.name):
            continue
        # One that is in use, or that another process is removing, is left to it.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)


def discard(folder: Path) -> None:
    """Remove a folder, which is never visible in part under its name."""
    unfinished = partial_path(folder)
    remove(unfinished)
    folder.rename(unfinished)
    remove(unfinished)


def remove(path: Path) -> None:
    """Remove a folder with its content, a file, or a link without its target."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
