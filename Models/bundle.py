"""Bundles: weights (safetensors) and their description (JSON), linked by a SHA-256.

A bundle is `<kind>.safetensors` and `<kind>.json` in a folder. Neither can hold code. A bundle is
refused if its weights do not match the description, or if its description was changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from Common.errors import UserError
from Common.files.bounded_read import parse_json, read_bounded
from Common.files.durable import sync, write_file, writing
from Common.files.locks import check_in_place
from Common.places import shipped

FORMAT = 1
_OWN_SHA256 = "description_sha256"  # missing in older bundles
Kind = Literal["teacher", "student"]
_MAX_DESCRIPTION, MAX_WEIGHTS = 2**26, 2**30  # bytes
_REMEDY: dict[Kind, str] = {
    "teacher": (
        "`python Train_Teacher/Pusher.py --output DIR`, or the script of another task, makes "
        "DIR/teacher; `python -m Models.teacher convert` converts your own agent."
    ),
    "student": (
        "`python Distillation/Pusher.py --PPD --output DIR`, or the script of another task, makes "
        "DIR/student."
    ),
}
_REMEDY_OF_FILE: dict[Kind, str] = {  # for an agent's file in place of a bundle
    "teacher": _REMEDY["teacher"],
    "student": (
        "A zip file of SB3 holds no task of its student, which defines its frames: load it by its "
        "class, such as `PPD.load(FILE, env)`, and write the bundle by `save_student(model.policy, "
        "FOLDER, describe_task(env.task))` (docs/python.md). " + _REMEDY["student"]
    ),
}


def bundle_folder(folder: Path | str, kind: Kind) -> Path:
    """Return the folder of a bundle: `folder` itself or, for a run folder, `<folder>/<kind>`.

    Shipped bundles are found from any folder (see `Common.places.shipped`).
    """
    folder = shipped(folder)
    inside = folder / kind
    has_own = (folder / f"{kind}.json").exists()
    return inside if not has_own and (inside / f"{kind}.json").exists() else folder


def write_bundle(
    folder: Path | str, kind: Kind, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> Path:
    """Write a bundle, replacing an older one. Equal tensors give equal bytes.

    If the write is interrupted, the folder holds either the old or the new bundle: a crash between
    the two renames leaves the new description in a file next to the new weights, where
    `read_bundle` finds it.

    Args:
        description: plain JSON. `format`, `kind`, `sha256` (of the weights) and
            `description_sha256` are added to it.

    Returns: `folder`.

    Raises:
        ValueError: the description holds NaN or infinity, which JSON lacks.
        UserError: the disk is full or cannot be written. The previous bundle is intact.
    """
    weights = _serialised(tensors)
    head = {"format": FORMAT, "kind": kind, "sha256": hashlib.sha256(weights).hexdigest()}
    whole = json.loads(json.dumps({**description, **head}, allow_nan=False))  # as read back
    whole[_OWN_SHA256] = _description_sha256(whole)
    folder = Path(folder)
    text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    check_in_place(folder)
    waiting = _waiting(folder, kind)
    write_file(waiting, text.encode())
    write_file(folder / f"{kind}.safetensors", weights)
    with writing(folder):
        waiting.replace(folder / f"{kind}.json")
        sync(folder)
    return folder


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the weights file of these tensors."""
    return hashlib.sha256(_serialised(tensors)).hexdigest()


def _description_sha256(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description without its own hash, independent of the layout."""
    rest = {name: value for name, value in description.items() if name != _OWN_SHA256}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _serialised(tensors: Mapping[str, Tensor]) -> bytes:
    contiguous = {
        name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())
    }
    return safetensors.torch.save(contiguous)


def read_bundle(
    folder: Path | str, kind: Kind, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on `device`, and the description of a bundle or of a run's bundle.

    Raises:
        UserError: a file is missing, damaged, of another kind or format, or was changed since the
            bundle was written. The message names the file and the remedy.
    """
    folder = bundle_folder(folder, kind)
    description_path, weights_path = folder / f"{kind}.json", folder / f"{kind}.safetensors"
    description = _parse(description_path, _read(description_path, kind, _MAX_DESCRIPTION), kind)
    weights = _read(weights_path, kind, MAX_WEIGHTS)
    sha256 = hashlib.sha256(weights).hexdigest()
    waiting = _waiting(folder, kind)
    if sha256 != description["sha256"] and waiting.is_file():
        description = _parse(waiting, _read(waiting, kind, _MAX_DESCRIPTION), kind)
    if sha256 != description["sha256"]:
        raise UserError(
            f"{weights_path} does not match {description_path}: its SHA-256 differs. One of them "
            f"was changed or damaged; copy both again. {_REMEDY[kind]}"
        )
    try:
        tensors = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise UserError(f"{weights_path} is not a safetensors file: {error}.") from error
    return {name: tensor.to(device) for name, tensor in tensors.items()}, description


def check_tensors(kind: Kind, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Check that a bundle's tensors match the described network.

    Args:
        expected: tensors of the network, possibly on the meta device.

    Raises:
        UserError: names, sizes or types differ, or values are not finite.
    """
    if expected.keys() != given.keys():
        missing = sorted(expected.keys() - given.keys())
        surplus = sorted(given.keys() - expected.keys())
        raise UserError(f"the {kind}'s weights lack {missing} and have unexpected {surplus}.")
    for name, tensor in sorted(given.items()):
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise UserError(
                f"the {kind}'s {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {want.dtype} {tuple(want.shape)}."
            )
        if not tensor.isfinite().all():
            raise UserError(f"the {kind}'s {name} holds NaN or infinity.")


def _waiting(folder: Path, kind: Kind) -> Path:
    """Return the path of the description until its weights are in place."""
    return folder / f".{kind}.json.next"


def _read(path: Path, kind: Kind, limit: int) -> bytes:
    try:
        return read_bounded(path, limit)
    except NotADirectoryError:  # such as the zip file of an agent
        raise UserError(
            f"{path.parent} is a file, but a {kind} is a folder with {path.name}. "
            f"{_REMEDY_OF_FILE[kind]}"
        ) from None
    except FileNotFoundError:
        raise UserError(f"There is no {kind} at {path}. {_REMEDY[kind]}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _parse(path: Path, text: bytes, kind: Kind) -> dict[str, Any]:
    try:
        description = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Copy it again. {_REMEDY[kind]}") from error
    if not isinstance(description, dict) or not isinstance(description.get("sha256"), str):
        raise UserError(f"{path} does not describe a bundle: it has no sha256. {_REMEDY[kind]}")
    if description.get("kind") != kind:
        raise UserError(f"{path} describes a {description.get('kind')!r}, not a {kind}.")
    if description.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {description.get('format')!r}; this version reads {FORMAT}. "
            f"Use the version that wrote it, or make a new one. {_REMEDY[kind]}"
        )
    if _OWN_SHA256 in description and description[_OWN_SHA256] != _description_sha256(description):
        raise UserError(
            f"{path} was changed or damaged since it was written: its own SHA-256 differs. Copy it "
            f"again. {_REMEDY[kind]}"
        )
    return description
