"""Files and folders that are complete or not there, whatever stops the process or the machine.

Everything is written beside its final name, forced to the disk and renamed once; then the folder
that holds the name is forced to the disk too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from Common.errors import UserError


def partial_path(path: Path) -> Path:
    """Where a file or folder is written before it gets its name."""
    return path.with_name(f".{path.name}.partial")


def sync(path: Path) -> None:
    """Forces a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` at the end of the block.

    If the block raises, `path` stays as it was and nothing is left beside it.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = partial_path(path)
    try:
        unfinished.unlink(missing_ok=True)
        # A new file: a link that lies there is not written through.
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes) -> None:
    """Replace a file's content, all or nothing, and make the folders above it.

    Raises:
        UserError: it cannot be written; the file stays as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)


@contextlib.contextmanager
def writing(what: Path | str, advice: str = "") -> Iterator[None]:
    """Say for the user what the system's errors in the block mean.

    Args:
        what: is written in the block.
        advice: what else the message says: what is still whole, and what to do.

    Raises:
        UserError: an OSError was raised in the block.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{what} cannot be written: {why}. {advice}".rstrip()) from error


@contextlib.contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end of the block.

    If the block raises, nothing is left.

    Raises:
        FileExistsError: there is a `folder` already; it stays.
        OSError: it cannot be written.
    """
    unfinished = partial_path(folder)
    if not folder.parent.is_dir():
        folder.parent.mkdir(parents=True)
        sync(folder.parent.parent)
    remove(unfinished)
    unfinished.mkdir()
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


def discard(folder: Path) -> None:
    """Removes a folder so that nobody ever sees a part of it under its name."""
    unfinished = partial_path(folder)
    remove(unfinished)
    folder.rename(unfinished)
    remove(unfinished)


def remove(path: Path) -> None:
    """Removes a folder with all that is in it, a file, or a link but not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
