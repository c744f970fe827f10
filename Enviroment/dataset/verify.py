"""Find what is wrong with a teacher dataset, and name the remedy."""

from __future__ import annotations

from pathlib import Path

from Common.errors import UserError
from Enviroment.dataset.format import (
    IMPORT_COMMANDS,
    IMPORTED_BY,
    IMPORTED_FROM,
    SHARDS,
    Manifest,
    shard_name,
)
from Enviroment.dataset.shards import file_sha256, shard_problem

_TOOL = "python -m Enviroment.dataset"


def verify(folder: Path | str) -> dict[str, str]:
    """Read every byte, and return the problems by file name; empty if there are none.

    Raises:
        UserError: the manifest cannot be used.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    problems: dict[str, str] = {}
    for index, entry in enumerate(manifest.shards):
        path = folder / shard_name(index)
        problem = shard_problem(path, manifest.layout(index))
        if problem is None and file_sha256(path) != entry.sha256:
            problem = f"{path} is damaged or edited: its SHA-256 differs from the manifest."
        if problem is not None:
            problems[path.name] = problem
    for path in surplus_shards(folder, manifest):
        problems[path.name] = f"{path} is not in the manifest: delete it, or move it away."
    return problems


def check_content(folder: Path | str) -> None:
    """Raise UserError for a dataset that fails `verify` or is not complete, with the remedy."""
    folder = Path(folder)
    problems = verify(folder)
    manifest = Manifest.read(folder)
    own = {shard_name(index) for index in range(len(manifest.shards))}
    said = list(problems.values())
    if problems.keys() & own:
        said.append(repair_hint(folder, manifest))
    if missing := unfinished(folder, manifest):
        said.append(missing)
    if said:
        raise UserError("\n".join(dict.fromkeys(said)))


def surplus_shards(folder: Path, manifest: Manifest) -> list[Path]:
    """Return files that look like shards but are not in the manifest."""
    own = {shard_name(index) for index in range(len(manifest.shards))}
    return sorted(path for path in folder.glob(SHARDS) if path.name not in own)


def unfinished(folder: Path, manifest: Manifest) -> str | None:
    """Return what is missing of a dataset that is not complete, and the remedy; None if it is."""
    if manifest.complete:
        return None
    holds = f"{folder} holds {manifest.steps} of {manifest.recipe.num_data} steps: its"
    if IMPORTED_FROM in manifest.recipe.teacher:
        return f"{holds} import was stopped. {repair_hint(folder, manifest)}"
    return f"{holds} collection was stopped. Repeat the command that collects it, with `resume`."


def repair_hint(folder: Path, manifest: Manifest) -> str:
    """Return advice about a damaged shard."""
    teacher = manifest.recipe.teacher
    if IMPORTED_FROM not in teacher:
        return f"`{_TOOL} repair {folder} --teacher DIR` collects it again."
    again = f"Delete {folder}, and import {teacher[IMPORTED_FROM]} again by"
    command = teacher.get(IMPORTED_BY)
    if command in IMPORT_COMMANDS:
        return f"{again} `{_TOOL} {command}`."
    return f"{again} `{_TOOL} import`, or `import-lerobot` if it is a dataset of LeRobot."
