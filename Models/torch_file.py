"""The tensors of a file that `torch.save` wrote, without torch.load.

Such a file is a zip: a pickle that says which tensors there are, and the bytes of each storage.
`torch.load(weights_only=True)` believes the sizes that the pickle gives; here every header is
checked against the bytes that are really there before any of them is read.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import torch
from torch import Tensor

from Models.inert_pickle import Record, RefusedPickleError, read_inert

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


# SB3 lists a shared features extractor three times; more would be one storage in many tensors.
_MAX_SHARING = 4


_MAX_DIMENSIONS = 8
# What zipfile and torch raise on bytes that neither has written.
_DAMAGE = (
    *(zipfile.BadZipFile, LookupError, ValueError, TypeError, OSError, EOFError),
    *(RuntimeError, NotImplementedError, OverflowError),
)


class RefusedTensorsError(Exception):
    """The file holds more than tensors, or is damaged."""


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors of a state dict by name. Some may share memory, as they did when saved.

    Raises:
        RefusedTensorsError: says why.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            tensors = _read_archive(archive, len(content))
    except _DAMAGE as error:
        raise RefusedTensorsError(f"no file of tensors: {error!s:.200}") from error
    except RefusedPickleError as error:
        raise RefusedTensorsError(str(error)) from error
    if sum(tensor.nbytes for tensor in tensors.values()) > _MAX_SHARING * len(content):
        raise RefusedTensorsError("its tensors are many times as large as the file")
    return tensors


def _read_archive(archive: zipfile.ZipFile, n_bytes: int) -> dict[str, Tensor]:
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise RefusedTensorsError("two members share a name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise RefusedTensorsError("torch writes its members uncompressed; these are not")
    # Members may lie over each other, and be read again and again.
    if sum(member.file_size for member in archive.infolist()) > n_bytes:
        raise RefusedTensorsError("its members are larger than the file")
    (root,) = {name.split("/")[0] for name in names} if names else {""}
    if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder") != b"little":
        raise RefusedTensorsError("its numbers are not little-endian")
    record = read_inert(archive.read(f"{root}/data.pkl"), _ALLOWED)
    items = record.items if isinstance(record, Record) else record
    if not isinstance(items, dict) or not all(isinstance(name, str) for name in items):
        raise RefusedTensorsError("it holds no tensors by name")
    storages: dict[str, Tensor] = {}
    return {name: _read_tensor(archive, root, value, storages) for name, value in items.items()}


def _read_tensor(
    archive: zipfile.ZipFile, root: str, value: Any, storages: dict[str, Tensor]
) -> Tensor:
    kind = type(value).__name__
    if kind == "_rebuild_parameter":
        value = value.arguments[0]
    elif kind != "_rebuild_tensor_v2":
        raise RefusedTensorsError(f"a {kind} where a tensor should be")
    try:
        (_, storage, key, _, length), offset, size, stride = value.arguments[:4]
        dtype = _DTYPES[storage.__name__]
        numbers = (length, offset, *size, *stride)
        valid = all(type(n) is int and n >= 0 for n in numbers) and len(size) == len(stride)
        valid = valid and len(size) <= _MAX_DIMENSIONS
    except (AttributeError, ValueError, TypeError, LookupError) as error:
        raise RefusedTensorsError(f"a tensor's header is garbled: {error!r}") from None
    if not valid:
        raise RefusedTensorsError("a tensor's header has sizes that are none")
    elements = math.prod(size)
    span = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # The second: a stride of 0 would make a few bytes a tensor of any size.
    if (elements and offset + span >= length) or elements > length:
        raise RefusedTensorsError("a tensor reaches beyond its storage")
    member = f"{root}/data/{key}"
    if archive.getinfo(member).file_size != length * dtype.itemsize:
        raise RefusedTensorsError(f"{member} is not as long as its header says")
    if not elements:
        return torch.empty(size, dtype=dtype)
    if member not in storages:
        storages[member] = torch.frombuffer(bytearray(archive.read(member)), dtype=dtype)
    return storages[member].as_strided(size, stride, offset)
