"""Pull a student, a teacher or a dataset, without running anything in it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Common.errors import UserError
from Common.files.durable import partial_path, remove, sync, writing
from Common.hub import hub_library, reaching_hub
from Enviroment.dataset.format import MANIFEST, Manifest, shard_name
from Enviroment.dataset.verify import check_content
from Evaluation.evaluate.subject import open_subject
from Models.teacher.policy import Teacher
from Sharing.contents import Contents, Kind, kind_in
from Sharing.names import Repository, parse_name

if TYPE_CHECKING:
    from Sharing.pull.__main__ import PullFlags

_ADVICE = (
    "Check the name and the network. A private repository needs a token: `hf auth login`, or "
    "HF_TOKEN."
)
_NEXT: dict[Kind, str] = {
    "student": "vision-distillation evaluate {folder}",
    "teacher": "vision-distillation inspect {folder}",
    "dataset": "vision-distillation dataset info {folder}",
}


@dataclass(frozen=True)
class Found:
    """What a repository holds, at one commit."""

    contents: Contents
    commit: str  # hash of the commit
    sizes: dict[str, int | None]  # bytes, of all files by name
    wanted: list[str]


def pull(name: str, output: Path | str | None = None, *, revision: str | None = None) -> Path:
    """Download a student, a teacher or a dataset, and verify all of it.

    A download that was interrupted continues at the next call.

    Args:
        name: OWNER/NAME, or datasets/OWNER/NAME.
        output: a new folder; default: NAME in the working directory.
        revision: a branch, a tag or the hash of a commit; default: the newest commit.

    Returns: the folder, for `Student.load`, `Teacher.load` or `TeacherDataset.open`.

    Raises:
        UserError: the repository cannot be reached, holds files that could hold code or that are
            too large, or what it holds is damaged. There is then no `output`.
    """
    hub = hub_library("`pull`")
    repository = parse_name(name)
    folder = Path(output) if output is not None else Path(repository.repo_id.partition("/")[2])
    if folder.exists():
        raise UserError(f"`output` {folder} exists already. Name a new folder.")
    found = _look(hub, repository, revision)
    unfinished = partial_path(folder)
    _check_room(folder, found)
    _download(hub, repository, found, unfinished)
    _remove_others(unfinished, found)
    try:
        _verify(found.contents.kind, unfinished)
    except UserError as error:
        remove(unfinished)
        text = str(error).replace(str(unfinished), repository.shown)
        raise UserError(f"{repository.shown} is refused, and was deleted here: {text}") from error
    with writing(folder, "Name another `output`."):
        unfinished.rename(folder)
        sync(folder.parent)
    return folder


def run_pull(flags: PullFlags) -> None:
    """Pull what the flags name, and print where it is and what may come next."""
    folder = pull(flags.name, flags.output, revision=flags.revision)
    kind = kind_in(str(folder), _names(folder), _type_of(folder)).kind
    print(f"A {kind}, verified, is in {folder}.\nnext:\n  {_NEXT[kind].format(folder=folder)}")


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _type_of(folder: Path) -> Any:
    return "dataset" if (folder / MANIFEST).is_file() else "model"


def _look(hub: Any, repository: Repository, revision: str | None) -> Found:
    """Return what the repository holds, before anything is downloaded."""
    with reaching_hub(f"{repository.shown} cannot be read", _ADVICE):
        info = hub.HfApi().repo_info(
            repository.repo_id,
            repo_type=repository.repo_type,
            revision=revision,
            files_metadata=True,
        )
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
    contents = kind_in(repository.shown, sizes, repository.repo_type)
    return Found(contents, info.sha, sizes, contents.check(repository.shown, sizes))


def _check_room(folder: Path, found: Found) -> None:
    wanted = sum(found.sizes[name] or 0 for name in found.wanted)
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise UserError(
            f"It needs {wanted / 1e6:.0f} MB, and {place} has {free / 1e6:.0f} MB free. Free "
            "space, or name another `output`."
        )


def _download(hub: Any, repository: Repository, found: Found, folder: Path) -> None:
    # The description first: a dataset's manifest tells which shards it has, and their sizes.
    head = found.contents.head
    _fetch(hub, repository, found, folder, [head])
    if found.contents.kind == "dataset":
        _check_shards(repository, found, folder)
    _fetch(hub, repository, found, folder, [name for name in found.wanted if name != head])


def _fetch(
    hub: Any, repository: Repository, found: Found, folder: Path, names: Sequence[str]
) -> None:
    with reaching_hub(f"{repository.shown} cannot be downloaded", _ADVICE):
        api = hub.HfApi()
        for name in names:
            api.hf_hub_download(
                repository.repo_id,
                name,
                repo_type=repository.repo_type,
                revision=found.commit,
                local_dir=folder,
            )
            size = (folder / name).stat().st_size
            if size != found.sizes[name]:
                raise UserError(
                    f"{repository.shown}: {name} has {size} bytes, not {found.sizes[name]} as "
                    "listed by the Hub. Repeat the command."
                )


def _remove_others(folder: Path, found: Found) -> None:
    """Remove the library's notes, and what an interrupted download of another repository left."""
    for path in folder.iterdir():
        if path.name not in found.wanted:
            remove(path)


def _check_shards(repository: Repository, found: Found, folder: Path) -> None:
    """Raise UserError unless the repository holds the shards of the manifest, of their sizes."""
    try:
        manifest = Manifest.read(folder)
    except UserError:
        remove(folder)
        raise
    shards = {shard_name(i): manifest.layout(i).nbytes for i in range(len(manifest.shards))}
    held = {name: found.sizes[name] for name in found.wanted if name.startswith("shard_")}
    if shards != held:
        different = sorted(name for name in {*shards, *held} if shards.get(name) != held.get(name))
        remove(folder)
        raise UserError(
            f"{repository.shown}: {', '.join(different[:5])} are not as {MANIFEST} lists them. It "
            "is damaged, or was not pushed by this toolkit. Nothing was kept."
        )


def _verify(kind: Kind, folder: Path) -> None:
    """Raise UserError unless the files match their descriptions: hashes, shapes and values."""
    if kind == "student":
        open_subject(folder)
    elif kind == "teacher":
        Teacher.load(folder)
    else:
        check_content(folder)
