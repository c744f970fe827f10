"""Read the tensors of a file of `torch.save` without torch.load.

Since torch 1.6 such a file is a zip: a pickle that lists the tensors, and the bytes of each
storage. Before, it was a sequence of pickles and then the storages, each after its length.
`torch.load(weights_only=True)` trusts the sizes in the pickle; this module checks every header
against the actual bytes before it reads any.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from Models.sb3.inert_pickle import Record, RefusedPickleError, read_inert

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_ALLOWED = frozenset(
    {
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        *(("torch", name) for name in _DTYPES),
    }
)


# SB3 lists a shared features extractor three times; more would be many tensors of one storage.
_MAX_SHARING = 4

# The older format.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_LENGTH_BYTES = 8  # before each storage: its number of elements


_MAX_DIMENSIONS = 8
# Errors of zipfile and torch on invalid bytes.
_DAMAGE = (
    *(zipfile.BadZipFile, LookupError, ValueError, TypeError, OSError, EOFError),
    *(RuntimeError, NotImplementedError, OverflowError),
)


class RefusedTensorsError(Exception):
    """The file holds more than tensors, or is damaged."""


@dataclass(frozen=True)
class _Header:
    """One tensor and the place of its elements."""

    key: str  # of its storage
    dtype: torch.dtype
    length: int  # elements in the storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of the storage."""
        return self.length * self.dtype.itemsize


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a state dict by name. They share memory if they did when saved.

    Raises:
        RefusedTensorsError: the file is damaged, or holds more than tensors.
    """
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                tensors = _read_archive(archive, len(content))
        else:
            tensors = _read_sequence(content)
    except _DAMAGE as error:
        raise RefusedTensorsError(f"not a file of tensors: {error!s:.200}") from error
    except RefusedPickleError as error:
        raise RefusedTensorsError(str(error)) from error
    if sum(tensor.nbytes for tensor in tensors.values()) > _MAX_SHARING * len(content):
        raise RefusedTensorsError("its tensors are many times as large as the file")
    return tensors


# -- the zip -----------------------------------------------------------------------------------


def _read_archive(archive: zipfile.ZipFile, n_bytes: int) -> dict[str, Tensor]:
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise RefusedTensorsError("two members share a name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise RefusedTensorsError("torch writes its members uncompressed; these are not")
    # Members of a zip may overlap, and so be larger together than the file.
    if sum(member.file_size for member in archive.infolist()) > n_bytes:
        raise RefusedTensorsError("its members are larger than the file")
    (root,) = {name.split("/")[0] for name in names} if names else {""}
    if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder") != b"little":
        raise RefusedTensorsError("its numbers are not little-endian")
    headers = _headers(read_inert(archive.read(f"{root}/data.pkl"), _ALLOWED))

    def read(header: _Header) -> bytes:
        member = f"{root}/data/{header.key}"
        if archive.getinfo(member).file_size != header.n_bytes:
            raise RefusedTensorsError(f"{member} does not have the length in its header")
        return archive.read(member)

    return _tensors(headers, read)


# -- the older format ----------------------------------------------------------------------------


def _read_sequence(content: bytes) -> dict[str, Tensor]:
    stream = io.BytesIO(content)
    magic, version, system = (_next_pickle(stream) for _ in range(3))
    if (magic, version) != (_MAGIC_NUMBER, _PROTOCOL_VERSION) or not isinstance(system, dict):
        raise RefusedTensorsError("it has neither torch's current format nor the older one")
    if system.get("little_endian") is not True:
        raise RefusedTensorsError("its numbers are not little-endian")
    headers = _headers(_next_pickle(stream))
    keys = _next_pickle(stream)
    by_key = {header.key: header for header in headers.values()}
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(by_key):
        raise RefusedTensorsError("it lists other storages than its tensors have")
    storages = {key: _next_storage(stream, by_key[key]) for key in keys}
    return _tensors(headers, lambda header: storages[header.key])


def _next_pickle(stream: io.BytesIO) -> Any:
    start = stream.tell()
    try:
        for _ in pickletools.genops(stream):  # find its end without running it
            pass
    except (ValueError, LookupError, OverflowError) as error:
        raise RefusedTensorsError(f"not a file of tensors: {error}") from None
    end = stream.tell()
    stream.seek(start)
    return read_inert(stream.read(end - start), _ALLOWED)


def _next_storage(stream: io.BytesIO, header: _Header) -> bytes:
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little", signed=True)
    content = stream.read(header.n_bytes)
    if length != header.length or len(content) != header.n_bytes:
        raise RefusedTensorsError(f"storage {header.key} does not have the length in its header")
    return content


# -- common to both formats ----------------------------------------------------------------------


def _headers(record: Any) -> dict[str, _Header]:
    items = record.items if isinstance(record, Record) else record
    if not isinstance(items, dict) or not all(isinstance(name, str) for name in items):
        raise RefusedTensorsError("it holds no tensors by name")
    headers = {name: _header(value) for name, value in items.items()}
    lengths: dict[str, tuple[int, torch.dtype]] = {}
    for header in headers.values():
        described = (header.length, header.dtype)
        if lengths.setdefault(header.key, described) != described:
            raise RefusedTensorsError(f"storage {header.key} has two descriptions")
    return headers


def _header(value: Any) -> _Header:
    kind = type(value).__name__
    if kind == "_rebuild_parameter":
        value = value.arguments[0]
    elif kind != "_rebuild_tensor_v2":
        raise RefusedTensorsError(f"a {kind} in place of a tensor")
    try:
        storage_id, offset, size, stride = value.arguments[:4]
        # The older format has a sixth entry, a part of a storage, which torch 1 left empty.
        (_, storage, key, _, length), view = storage_id[:5], storage_id[5:]
        dtype = _DTYPES[storage.__name__]
        numbers = (length, offset, *size, *stride)
        valid = all(type(n) is int and n >= 0 for n in numbers) and len(size) == len(stride)
        valid = valid and len(size) <= _MAX_DIMENSIONS
    except (AttributeError, ValueError, TypeError, LookupError) as error:
        raise RefusedTensorsError(f"a tensor's header is invalid: {error!r}") from None
    if not isinstance(key, str) or view not in ((), (None,)):
        raise RefusedTensorsError("a tensor's header is invalid: its storage has no name")
    if not valid:
        raise RefusedTensorsError("a tensor's header has invalid sizes")
    elements = math.prod(size)
    span = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # The second condition: with a stride of 0, a few bytes could be a tensor of any size.
    if (elements and offset + span >= length) or elements > length:
        raise RefusedTensorsError("a tensor reaches beyond its storage")
    return _Header(key, dtype, length, offset, tuple(size), tuple(stride))


def _tensors(headers: Mapping[str, _Header], read: Callable[[_Header], bytes]) -> dict[str, Tensor]:
    """Return the tensors of the headers.

    Args:
        read: returns the bytes of a header's storage.
    """
    storages: dict[str, Tensor] = {}
    tensors = {}
    for name, header in headers.items():
        if header.key not in storages:
            content = bytearray(read(header))
            storages[header.key] = (
                torch.frombuffer(content, dtype=header.dtype)
                if content
                else torch.empty(0, dtype=header.dtype)
            )
        tensors[name] = storages[header.key].as_strided(header.size, header.stride, header.offset)
    return tensors
