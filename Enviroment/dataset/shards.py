"""Shards: immutable safetensors files that are published whole and read through memory maps.

The bytes of a shard's header follow from what it should hold, so a reader that knows this needs to
parse nothing: it compares. Other tools read the files as the safetensors that they are.
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

# safetensors' names. Nothing else can be stored, least of all pickled objects.
_DTYPES = {
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "int32": "I32",
    "uint8": "U8",
    "bool": "BOOL",
}
_ALIGNMENT = 8  # bytes; the header is padded to it, and wider items come first


@dataclass(frozen=True)
class Column:
    """Type and shape of one entry of an array."""

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise UserError(f"dtype {self.dtype!r} is none of {', '.join(_DTYPES)}.")
        if not all(isinstance(size, int) and size >= 0 for size in self.shape):
            raise UserError(f"shape {self.shape} must hold whole numbers.")

    @property
    def nbytes(self) -> int:
        """Bytes of one entry."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def times(self, n: int) -> Column:
        """n entries as one array."""
        return Column(self.dtype, (n, *self.shape))


@dataclass(frozen=True)
class ShardLayout:
    """What a shard should hold: its arrays (whole, as `Column.times` gives them) and labels."""

    arrays: Mapping[str, Column]
    labels: Mapping[str, str]

    def order(self) -> list[str]:
        """Names in the order of the file: any array is then aligned to its items."""
        return sorted(
            self.arrays, key=lambda name: (-np.dtype(self.arrays[name].dtype).itemsize, name)
        )

    def header(self) -> bytes:
        """The file's beginning, up to the first array."""
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
    path: Path, layout: ShardLayout, arrays: Mapping[str, np.ndarray], sha256: str | None = None
) -> str:
    """Publishes a shard by one rename, after its bytes are on the disk.

    Args:
        arrays: those of the layout.
        sha256: what the file's must be, or nothing is published.

    Returns: the SHA-256 of the file.

    Raises:
        ValueError: the arrays are not those of the layout.
        UserError: the file cannot be written, or its SHA-256 is another.
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
    return publish(path, chunks, sha256)


def publish(path: Path, chunks: Iterable[bytes | memoryview], sha256: str | None = None) -> str:
    """Writes a file that is complete or not there, whatever stops the process or the machine.

    Returns and raises: as `write_shard`.
    """
    digest = hashlib.sha256()
    advice = (
        "The shards before it are complete: make room, or mend what is wrong, and give the same "
        "command with `resume`."
    )
    with writing(path, advice), replacing(path) as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise UserError(
                f"{path}: what was collected again is not what the manifest describes (its "
                "SHA-256 differs), so the shard stays as it is. Another version of a package, "
                "another processor or another OpenGL driver can be the reason: repair it where "
                "it was collected, or collect the dataset anew."
            )
    return digest.hexdigest()


def map_shard(path: Path, layout: ShardLayout) -> dict[str, np.ndarray]:
    """The arrays of a shard, read-only and memory-mapped.

    Raises:
        UserError: the file is missing, or not one of this layout.
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
    """What is wrong with a shard, as far as its size and header tell; None: nothing."""
    header = layout.header()
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return f"{path} is no regular file."
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begins = file.read(len(header))
    except FileNotFoundError:
        return f"{path} is missing."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    if size != layout.nbytes:
        return f"{path} has {size} bytes, and should have {layout.nbytes}: it is cut off or edited."
    if begins != header:
        return f"{path} is not the shard that the manifest describes: another's copy, or edited."
    return None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return bounded_read.file_sha256(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
