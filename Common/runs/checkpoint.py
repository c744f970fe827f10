"""Checkpoints: folders of tensors (safetensors) and plain values (JSON) that hold no code.

checkpoints/step_000000400000/
    manifest.json        step, whether it was the best so far, size and SHA-256 of each file below
    state.json           plain values
    <name>.safetensors   tensors, one file for each part of the state

A checkpoint appears by one rename, after all of it is on the disk, and never changes afterwards.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from Common.errors import UserError
from Common.files.bounded_read import file_sha256, read_json
from Common.files.durable import discard, partial_path, publishing, remove, writing
from Common.files.locks import check_in_place
from Common.runs.files import CONFIG_FILE
from Common.runs.packing import host_tensor, unpack

FORMAT = 1
MANIFEST, STATE = "manifest.json", "state.json"
_KEYS = {"format", "kind", "step", "best", "files"}
_FOLDER = re.compile(r"step_(\d{12,18})")
_PART = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OLDER_STAY = "The older ones are intact: fix the cause, and continue from them with `resume`."
_MAX_MANIFEST, _MAX_STATE = 2**20, 2**28  # bytes
# Errors of restoring a state of another version.
_NO_STATE = (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose hashes were checked."""

    path: Path
    step: int
    best: bool  # of all up to this one
    values: dict[str, Any]
    parts: tuple[str, ...]  # names of its groups of tensors

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Return one group of tensors, on the CPU.

        Raises:
            UserError: there is no such group, or its file cannot be read.
        """
        if part not in self.parts:
            raise UserError(f"Checkpoint {self.path} has no {part}: {', '.join(self.parts)}.")
        path = self.path / f"{part}.safetensors"
        try:
            # Copies, because tensors of a file are aligned to 8 bytes and torch's own to 16, and
            # the last bits of MKL's matrix products depend on that.
            stored = safetensors.torch.load_file(path)
            return {name: tensor.clone() for name, tensor in stored.items()}
        except (SafetensorError, OSError) as error:
            raise UserError(f"Checkpoint {self.path} is damaged: {path.name}: {error}.") from error

    def unpacked(self, name: str) -> Any:
        """Return the state that was packed under this name (`Common.runs.packing`).

        Raises:
            UserError: there is no such state, or it cannot be read.
        """
        tensors = self.tensors(name)
        if name not in self.values:
            raise UserError(f"Checkpoint {self.path} has no values of {name}.")
        return unpack(tensors, self.values[name])

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Turn errors of a block that restores this checkpoint into a UserError."""
        try:
            yield
        except _NO_STATE as error:
            raise UserError(
                f"Checkpoint {self.path} does not fit this version ({error!r}). Use the version "
                f"that wrote it: {CONFIG_FILE} names it."
            ) from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the checkpoint of a folder after checking all of its files.

        Raises:
            UserError: the checkpoint is damaged or of another format.
        """
        try:
            manifest = _read_manifest(path)
            for name, fingerprint in manifest["files"].items():
                if not _is(path / name, fingerprint):
                    raise ValueError(f"{name} is not the file that was written")
            values = read_json(path / STATE, _MAX_STATE)
            if not isinstance(values, dict):
                raise ValueError(f"{STATE} holds no values by name")
        except OSError as error:
            where = "" if error.filename is None else f" ({error.filename})"
            why = f"{error.strerror}{where}"
            raise UserError(f"Checkpoint {path} is damaged: {why}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"Checkpoint {path} is damaged: {error}.") from error
        parts = tuple(name.partition(".")[0] for name in manifest["files"] if name != STATE)
        return cls(path, manifest["step"], manifest["best"], values, parts)


class CheckpointStore:
    """The checkpoints of one run.

    Only one process at a time may write them (`Common.files.locks.locked`).

    Args:
        root: folder of the checkpoints; made at the first `save`.
        keep: number of newest checkpoints to keep, besides the best.

    Raises:
        UserError: `keep` is below 1.
    """

    def __init__(self, root: Path | str, keep: int = 2) -> None:
        if keep < 1:
            raise UserError(f"`keep` {keep} would keep no checkpoint. Give 1 or more.")
        self.root, self.keep = Path(root), keep
        self._damaged: set[Path] = set()  # already reported

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor | np.ndarray]],
        values: Mapping[str, Any],
        *,
        best: bool = False,
    ) -> Path:
        """Write a checkpoint, then remove those that need not be kept.

        An intact checkpoint of the same step is kept: the state of a run at a step never changes.

        Args:
            step: increases over the run.
            tensors: groups, one file each, named by a-z, 0-9 and _.
            values: plain JSON; `Common.runs.packing` converts tuples, infinities and other keys.
            best: whether it is the best so far; the last such checkpoint is kept.

        Returns: the folder.

        Raises:
            ValueError: a name or value cannot be stored.
            UserError: the checkpoint cannot be written. Older ones are kept.
        """
        check_in_place(self.root)
        path = self.root / f"step_{step:012d}"
        if not _FOLDER.fullmatch(path.name):
            raise ValueError(f"A checkpoint's step is a whole number from 0, not {step!r}.")
        state = _strict_json(values)
        if unusable := [part for part in tensors if not _PART.fullmatch(part)]:
            raise ValueError(f"Names of tensors' groups are of a-z, 0-9 and _, not {unusable}.")
        with writing(f"Checkpoint {path}", _OLDER_STAY):
            self._remove_unfinished()
            if path.is_dir():
                if self._opened(path) is not None:
                    return path
                discard(path)
                self._damaged.discard(path)
            with publishing(path) as folder:
                _write(folder, step, best, tensors, state)
            self.prune(step)
        return path

    def replace(
        self, tensors: Mapping[str, Mapping[str, Tensor | np.ndarray]], values: Mapping[str, Any]
    ) -> Path:
        """Save a checkpoint numbered by saves instead of steps. Arguments and errors: as `save`."""
        older = self.newest()
        return self.save(0 if older is None else older.step + 1, tensors, values)

    def to_resume(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; None if there are no checkpoints.

        Raises:
            UserError: all checkpoints are damaged.
        """
        found = self.newest()
        if found is None and self._folders():
            raise UserError(
                f"Every checkpoint in {self.root} is damaged. Restore one from a copy, or start "
                "over by `overwrite`."
            )
        return found

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint. Print each damaged one to stderr, once."""
        opened = (self._opened(path) for path in reversed(self._folders()))
        return next((checkpoint for checkpoint in opened if checkpoint is not None), None)

    def best(self) -> Checkpoint | None:
        """Return the newest intact checkpoint that was the best so far when it was written."""
        opened = (self._opened(path) for path in reversed(self._folders()))
        return next((found for found in opened if found is not None and found.best), None)

    def _opened(self, path: Path) -> Checkpoint | None:
        try:
            return Checkpoint.open(path)
        except UserError as error:
            if path not in self._damaged:
                self._damaged.add(path)
                print(f"{error} It is skipped.", file=sys.stderr)
            return None

    def _folders(self) -> list[Path]:
        """Return the folders of checkpoints, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(
            (path for path in self.root.iterdir() if _FOLDER.fullmatch(path.name)), key=_step_of
        )

    def prune(self, step: int) -> None:
        """Remove unfinished checkpoints, and those up to `step` but the `keep` newest and the best.

        Later ones than `step` are damaged, or the run would have resumed from them. The run
        replaces them when it reaches their steps.

        Raises:
            OSError: one cannot be removed.
        """
        self._remove_unfinished()
        until = [path for path in self._folders() if _step_of(path) <= step]
        whole = [path for path in until if path not in self._damaged]
        kept = set(whole[-self.keep :])
        best = next((path for path in reversed(whole) if _was_best(path)), None)
        for path in until:
            if path not in kept and path != best:
                discard(path)

    def _remove_unfinished(self) -> None:
        for path in self.root.glob(partial_path(self.root / "step_*").name):
            remove(path)


def _step_of(path: Path) -> int:
    match = _FOLDER.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _was_best(path: Path) -> bool:
    try:
        return _read_manifest(path)["best"]
    except (OSError, ValueError):
        return False


# -- the files -----------------------------------------------------------------------------------


def _write(
    folder: Path,
    step: int,
    best: bool,
    tensors: Mapping[str, Mapping[str, Tensor | np.ndarray]],
    state: bytes,
) -> None:
    (folder / STATE).write_bytes(state)
    files = {STATE: _described(folder / STATE)}
    for part, group in tensors.items():
        path = folder / f"{part}.safetensors"
        _write_tensors(path, _storable(group))
        shutil.copymode(folder / STATE, path)  # safetensors' files are readable by their owner only
        files[path.name] = _described(path)
    manifest = {"format": FORMAT, "kind": "checkpoint", "step": step, "best": best, "files": files}
    (folder / MANIFEST).write_bytes(json.dumps(manifest, indent=1).encode() + b"\n")


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors without copying them: they may fill half of the memory."""
    try:
        safetensors.torch.save_file(tensors, path)
    except SafetensorError as error:
        system = re.search(r"I/O error: (.+) \(os error (\d+)\)", str(error))
        if system is None:
            raise
        raise OSError(int(system[2]), system[1], str(path)) from error


def _storable(group: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU. None share memory, which safetensors refuses."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in sorted(group.items()):
        tensor = host_tensor(value).contiguous()
        memory = tensor.untyped_storage().data_ptr()
        stored[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return stored


def _strict_json(values: Mapping[str, Any]) -> bytes:
    """Return values as JSON. Raise ValueError if JSON cannot represent one of them exactly."""
    try:
        text = json.dumps(values, indent=1, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"The values of a checkpoint are plain JSON: {error}.") from error
    again = json.loads(text)
    changed = sorted(str(name) for name in values if again.get(name) != values[name])
    if changed:
        raise ValueError(
            f"JSON would change {', '.join(changed)}: tuples, or keys that are no text. "
            "Common.runs.packing stores them."
        )
    return text.encode() + b"\n"


def _is(path: Path, described: Mapping[str, Any]) -> bool:
    return path.stat().st_size == described["bytes"] and _described(path) == described


def _described(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint. Raise OSError or ValueError if it is damaged."""
    if path.is_symlink():
        raise ValueError("it is a link, and checkpoints are folders")
    manifest = read_json(path / MANIFEST, _MAX_MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != "checkpoint":
        raise ValueError(f"{MANIFEST} describes no checkpoint")
    if manifest.get("format") != FORMAT:
        raise ValueError(f"it has format {manifest.get('format')!r}; this version reads {FORMAT}")
    if manifest.keys() != _KEYS or type(manifest["best"]) is not bool:
        raise ValueError(f"{MANIFEST} is garbled")
    if manifest["step"] != _step_of(path):
        raise ValueError(f"{MANIFEST} is of step {manifest['step']!r}")
    files = manifest["files"]
    if not isinstance(files, dict) or STATE not in files:
        raise ValueError(f"{MANIFEST} lists no {STATE}")
    for name in files:
        part, _, suffix = name.partition(".")
        if name != STATE and not (_PART.fullmatch(part) and suffix == "safetensors"):
            raise ValueError(f"{MANIFEST} lists {name!r:.80}, which is no file of a checkpoint")
        if (path / name).is_symlink() or not (path / name).is_file():
            raise ValueError(f"{name} is missing, or no file")
    return manifest
