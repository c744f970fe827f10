"""Shards: immutable safetensors files, written atomically and read through memory maps.

The header of a shard follows from its layout, so a reader compares it instead of parsing it. Other
tools read the files as ordinary safetensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Common.errors import UserError
from Common.files import bounded_read
from Common.files.durable import replacing, writing

# Names in safetensors. No other types can be stored, in particular no pickled objects.
_DTYPES = {
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "int32": "I32",
    "uint8": "U8",
    "bool": "BOOL",
}
RESUME = (
    "The shards before it are complete: free space or fix the cause, and run the same command with "
    "`resume`."
)
_ALIGNMENT = 8  # bytes; the header is padded to it, and wider items come first


@dataclass(frozen=True)
class Column:
    """Type and shape of one entry of an array."""

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise UserError(f"dtype {self.dtype!r} is not one of {', '.join(_DTYPES)}.")
        if not all(isinstance(size, int) and size >= 0 for size in self.shape):
            raise UserError(f"shape {self.shape} must hold whole numbers.")

    @property
    def nbytes(self) -> int:
        """Bytes of one entry."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def times(self, n: int) -> Column:
        """Return the column of n entries as one array."""
        return Column(self.dtype, (n, *self.shape))


@dataclass(frozen=True)
class ShardLayout:
    """The content of a shard: its arrays (complete, as returned by `Column.times`) and labels."""

    arrays: Mapping[str, Column]
    labels: Mapping[str, str]

    def order(self) -> list[str]:
        """Return the names in the order of the file, in which every array is aligned."""
        return sorted(
            self.arrays, key=lambda name: (-np.dtype(self.arrays[name].dtype).itemsize, name)
        )

    def header(self) -> bytes:
        """Return the file's beginning, up to the first array."""
        entries: dict[str, object] = {"__metadata__": dict(sorted(self.labels.items()))}
        start = 0
        for name in self.order():
            column = self.arrays[name]
            entries[name] = {
                "dtype": _DTYPES[column.dtype],
                "shape": list(column.shape),
                "data_offsets": [start, start + column.nbytes],
            }
            start += column.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return struct.pack("<Q", len(text)) + text

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self.header()) + sum(column.nbytes for column in self.arrays.values())


def write_shard(
    path: Path,
    layout: ShardLayout,
    arrays: Mapping[str, np.ndarray],
    sha256: str | None = None,
    advice: str = RESUME,
) -> str:
    """Write a shard atomically: by one rename, after its bytes are on the disk.

    Args:
        arrays: the arrays of the layout.
        sha256: expected SHA-256 of the file; if it differs, write nothing.
        advice: what to do if the file cannot be written.

    Returns: the SHA-256 of the file.

    Raises:
        ValueError: the arrays do not match the layout.
        UserError: the file cannot be written, or its SHA-256 differs.
    """
    if arrays.keys() != layout.arrays.keys():
        raise ValueError(f"Arrays {sorted(arrays)}, layout {sorted(layout.arrays)}.")
    chunks: list[bytes | memoryview] = [layout.header()]
    for name in layout.order():
        array = np.ascontiguousarray(arrays[name])
        if (array.dtype.name, array.shape) != (
            layout.arrays[name].dtype,
            layout.arrays[name].shape,
        ):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {layout.arrays[name]}.")
        chunks.append(array.reshape(-1).view(np.uint8).data)
    return publish(path, chunks, sha256, advice)


def publish(
    path: Path,
    chunks: Iterable[bytes | memoryview],
    sha256: str | None = None,
    advice: str = RESUME,
) -> str:
    """Write a file atomically, even if the process or the machine is stopped.

    Args, returns and raises: as `write_shard`.
    """
    digest = hashlib.sha256()
    with writing(path, advice), replacing(path) as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise UserError(
                f"{path}: the shard that was collected again does not match the manifest (its "
                "SHA-256 differs), so the old shard is kept. The reason may be another version "
                "of a package, another processor or another OpenGL driver: repair it where it "
                "was collected, or collect the dataset again."
            )
    return digest.hexdigest()


def map_shard(path: Path, layout: ShardLayout) -> dict[str, np.ndarray]:
    """Return the arrays of a shard, read-only and memory-mapped.

    Raises:
        UserError: the file is missing, or does not match the layout.
    """
    problem = shard_problem(path, layout)
    if problem:
        raise UserError(problem)
    raw = np.memmap(path, np.uint8, mode="r")
    arrays: dict[str, np.ndarray] = {}
    start = len(layout.header())
    for name in layout.order():
        column = layout.arrays[name]
        end = start + column.nbytes
        arrays[name] = np.asarray(raw[start:end]).view(column.dtype).reshape(column.shape)
        start = end
    return arrays


def shard_problem(path: Path, layout: ShardLayout) -> str | None:
    """Return the problem of a shard by its size and header; None if there is none."""
    header = layout.header()
    if path.exists() and not path.is_file():  # opening a pipe would wait
        return f"{path} is not a regular file."
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begins = file.read(len(header))
    except FileNotFoundError:
        return f"{path} is missing."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    if size != layout.nbytes:
        return f"{path} has {size} bytes instead of {layout.nbytes}: it is truncated or edited."
    if begins != header:
        return f"{path} does not match the manifest: it is of another dataset, or edited."
    return None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return bounded_read.file_sha256(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
