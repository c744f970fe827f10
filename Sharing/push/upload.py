"""Push a student, a teacher or a dataset, or write the folder that would be uploaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Common.commands.redaction import redact
from Common.errors import UserError
from Common.files.durable import publishing, writing
from Common.hub import hub_library, reaching_hub
from Common.runs.run_folder import FIGURES_FILE, STUDENT, TEACHER, VIDEOS
from Enviroment.dataset.commands import write_contact_sheet
from Enviroment.dataset.format import MANIFEST, Manifest, shard_name
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.verify import check_content
from Evaluation.evaluate.subject import open_subject
from Models.bundle import bundle_folder, read_bundle
from Models.teacher.policy import Teacher
from Sharing.cards.card import CardRequest
from Sharing.cards.dataset import card_of_dataset
from Sharing.cards.student import student_card
from Sharing.cards.teacher import teacher_card
from Sharing.contents import (
    CARD_FILE,
    CONTENTS,
    EVALUATION_FILE,
    SHEET_FILE,
    VIDEO_FILE,
    Contents,
    Kind,
    refuse_strangers,
)
from Sharing.names import Repository, parse_name

if TYPE_CHECKING:
    from Sharing.push.__main__ import PushFlags

_ADVICE = (
    "Check the name, the network, and that you may write there: `hf auth login` logs in, or "
    "HF_TOKEN holds a token."
)


@dataclass(frozen=True)
class Parcel:
    """Everything that is uploaded: files by their name in the repository, and the card."""

    kind: Kind
    repository: Repository
    files: Mapping[str, Path]
    card: str

    @property
    def contents(self) -> Contents:
        return CONTENTS[self.kind]


def push(
    path: Path | str,
    name: str,
    *,
    license: str = "mit",
    private: bool = False,
    message: str = "",
    output: Path | str | None = None,
) -> str:
    """Upload a student, a teacher or a dataset with a generated card.

    Args:
        path: a run folder, a bundle, or the folder of a dataset.
        name: OWNER/NAME of the repository, which is created if it is missing.
        license: the licence on the card, by its name on the Hub.
        private: whether a new repository is private.
        message: title of the commit.
        output: write the folder that would be uploaded there, and upload nothing.

    Returns: the address of the commit, or the path of the folder.

    Raises:
        UserError: there is nothing to share at `path`, or it is damaged; the name is not valid; or
            the Hub refuses.
    """
    hub = hub_library("`push`")
    with tempfile.TemporaryDirectory() as scratch:
        parcel = pack(Path(path), name, license, Path(scratch))
        if output is not None:
            return str(_write(parcel, Path(output)))
        return _upload(hub, parcel, private, message or f"Push a {parcel.kind}")


def run_push(flags: PushFlags) -> None:
    """Push what the flags name, and print where it is."""
    where = push(
        flags.path,
        flags.name,
        license=flags.license,
        private=flags.private,
        message=flags.message,
        output=flags.output,
    )
    if flags.output is not None:
        print(f"The files of the upload are written to {where}. Nothing was uploaded.")
        return
    print(f"Pushed: {where}")


def pack(path: Path, name: str, licence: str, scratch: Path) -> Parcel:
    """Return what is to be uploaded, after checking all of it.

    Args:
        scratch: a folder for files that are made for the upload.

    Raises:
        UserError: see `push`.
    """
    kind = _kind_of(path)
    given = parse_name(name)
    if given.repo_type == "dataset" and kind != "dataset":
        raise UserError(f"{path} holds a {kind}, but {name} is the name of a dataset.")
    repository = Repository(given.repo_id, CONTENTS[kind].repo_type)
    files = {"student": _student, "teacher": _teacher, "dataset": _dataset}[kind]
    return files(path, repository, licence, scratch)


def _kind_of(path: Path) -> Kind:
    if not path.is_dir():
        raise UserError(f"There is no folder {path}. Give a run, a bundle or a dataset.")
    bundles: dict[Kind, str] = {"student": STUDENT, "teacher": TEACHER}
    for kind, inside in bundles.items():
        if any((place / f"{kind}.json").is_file() for place in (path, path / inside)):
            return kind
    if (path / MANIFEST).is_file():
        return "dataset"
    raise UserError(
        f"{path} holds no student ({STUDENT}.json), no teacher ({TEACHER}.json) and no dataset "
        f"({MANIFEST}). Give the folder of one."
    )


def _student(path: Path, repository: Repository, licence: str, scratch: Path) -> Parcel:
    subject = open_subject(path)
    videos = (path / VIDEOS / "student.mp4", path / "student.mp4", path / VIDEO_FILE)
    files = _bundle_files("student", subject.bundle) | _beside(path, videos)
    request = CardRequest(repository, licence, VIDEO_FILE in files)
    return Parcel("student", repository, files, student_card(subject, request))


def _teacher(path: Path, repository: Repository, licence: str, scratch: Path) -> Parcel:
    teacher, folder = Teacher.load(path), bundle_folder(path, "teacher")
    newest = sorted((path / VIDEOS).glob("*.mp4"), reverse=True)
    files = _bundle_files("teacher", folder) | _beside(path, (*newest[:1], path / VIDEO_FILE))
    request = CardRequest(repository, licence, VIDEO_FILE in files)
    notes = read_bundle(folder, "teacher")[1]
    return Parcel("teacher", repository, files, teacher_card(teacher, notes, request))


def _dataset(path: Path, repository: Repository, licence: str, scratch: Path) -> Parcel:
    check_content(path)
    dataset = TeacherDataset.open(path)
    n_shards = len(Manifest.read(path).shards)
    files = {name: path / name for name in (MANIFEST, *map(shard_name, range(n_shards)))}
    if dataset.task.has_frames:
        files[SHEET_FILE] = scratch / SHEET_FILE
        write_contact_sheet(dataset, files[SHEET_FILE])
    request = CardRequest(repository, licence, SHEET_FILE in files)
    return Parcel("dataset", repository, files, card_of_dataset(dataset, request))


def _bundle_files(kind: Kind, folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in CONTENTS[kind].needed}


def _beside(path: Path, videos: tuple[Path, ...]) -> dict[str, Path]:
    """Return the video and the figures beside a bundle, if they are there."""
    found = {}
    if (path / FIGURES_FILE).is_file():
        found[EVALUATION_FILE] = path / FIGURES_FILE
    video = next((video for video in videos if video.is_file()), None)
    return found if video is None else {**found, VIDEO_FILE: video}


def _write(parcel: Parcel, folder: Path) -> Path:
    if folder.exists():
        raise UserError(f"`output` {folder} exists already. Name a new folder.")
    with writing(folder, "Name another `output`."), publishing(folder) as unfinished:
        for name, path in parcel.files.items():
            shutil.copyfile(path, unfinished / name)
        (unfinished / CARD_FILE).write_text(parcel.card)
    return folder


def _upload(hub: Any, parcel: Parcel, private: bool, message: str) -> str:
    api, repository = hub.HfApi(), parcel.repository
    where = {"repo_id": repository.repo_id, "repo_type": repository.repo_type}
    with reaching_hub(f"{repository.shown} cannot be written", _ADVICE):
        api.create_repo(**where, private=private or None, exist_ok=True)
        info = api.repo_info(**where)
        present = [sibling.rfilename for sibling in info.siblings or []]
        stale = _stale(parcel, present)
        operations = [
            *(hub.CommitOperationDelete(path_in_repo=name) for name in stale),
            *(
                hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(path))
                for name, path in parcel.files.items()
            ),
            hub.CommitOperationAdd(CARD_FILE, parcel.card.encode()),
        ]
        commit = api.create_commit(
            **where, operations=operations, commit_message=redact(message), parent_commit=info.sha
        )
    return str(commit.commit_url)


def _stale(parcel: Parcel, present: list[str]) -> list[str]:
    """Return the files of an earlier push that this one does not have.

    Raises:
        UserError: the repository holds something else, which `pull` would refuse.
    """
    shown, contents = parcel.repository.shown, parcel.contents
    others = [c.kind for c in CONTENTS.values() if c is not contents and c.head in present]
    if others:
        raise UserError(f"{shown} holds a {others[0]} already. Give a {parcel.kind} another name.")
    unknown = [name for name in present if contents.limit(name) is None]
    refuse_strangers(shown, parcel.kind, unknown)
    kept = {*parcel.files, CARD_FILE}
    return sorted(name for name in present if contents.limit(name) and name not in kept)
