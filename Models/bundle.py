"""Bundles: weights (safetensors) and their description (JSON), tied by a SHA-256.

A bundle is `<kind>.safetensors` and `<kind>.json` in a folder. Neither can hold code. Nothing is
used of a bundle whose weights are not the ones that its description was written for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from Enviroment.errors import UserError

FORMAT = 1
Kind = Literal["teacher", "student"]
_REMEDY: dict[Kind, str] = {
    "teacher": "`python Train_Teacher/<Task>.py --algo sac --output DIR` makes DIR/teacher.",
    "student": "`python Distillation/<Task>.py --PPD --output DIR` makes DIR/student.",
}


def write_bundle(
    folder: Path, kind: Kind, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> Path:
    """Writes a bundle, replacing an older one. Its weights are the same bytes for equal tensors.

    Each file is complete or not there. A crash between the two leaves an older description
    beside newer weights, which `read_bundle` refuses.

    Args:
        description: plain JSON. `format`, `kind` and `sha256` are added to it.

    Returns: `folder`.

    Raises:
        ValueError: the description holds NaN or infinity, which JSON has not.
    """
    contiguous = {
        name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())
    }
    weights = safetensors.torch.save(contiguous)
    head = {"format": FORMAT, "kind": kind, "sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps({**description, **head}, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{kind}.safetensors", weights)
    _write(folder / f"{kind}.json", text.encode())
    return folder


def read_bundle(
    folder: Path, kind: Kind, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on `device`, and the description.

    Raises:
        UserError: a file is missing, garbled, of another kind or format, or was changed since
            the bundle was written; names the file and what to do.
    """
    description_path, weights_path = folder / f"{kind}.json", folder / f"{kind}.safetensors"
    description = _parse(description_path, _read(description_path, kind), kind)
    weights = _read(weights_path, kind)
    if hashlib.sha256(weights).hexdigest() != description["sha256"]:
        raise UserError(
            f"{weights_path} is not the file that {description_path} describes: its SHA-256 "
            f"differs. One of them was changed or damaged; copy both anew. {_REMEDY[kind]}"
        )
    try:
        tensors = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise UserError(f"{weights_path} is no safetensors file: {error}.") from error
    return {name: tensor.to(device) for name, tensor in tensors.items()}, description


def _read(path: Path, kind: Kind) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no {kind} at {path}. {_REMEDY[kind]}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _parse(path: Path, text: bytes, kind: Kind) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is garbled: {error}. Copy it anew. {_REMEDY[kind]}") from error
    if not isinstance(description, dict) or not isinstance(description.get("sha256"), str):
        raise UserError(f"{path} does not describe a bundle: it has no sha256. {_REMEDY[kind]}")
    if description.get("kind") != kind:
        raise UserError(f"{path} describes a {description.get('kind')!r}, not a {kind}.")
    if description.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {description.get('format')!r}; this version reads {FORMAT}. "
            f"Use the version that wrote it, or make it anew. {_REMEDY[kind]}"
        )
    return description


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.partial")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
