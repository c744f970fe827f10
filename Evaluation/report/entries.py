"""Find the content of a report: runs, students shipped without their runs, and films."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.runs.files import CONFIG_FILE
from Common.runs.run_folder import CURVES_FILE, DIAGNOSTICS, FIGURES_FILE, STUDENT, VIDEOS
from Evaluation.runs import STUDENT_FILE, Run, identity, read_run

FILM = "side_by_side"  # the kind in a video's description
GALLERY = "gallery/gallery.json"  # in the folder of diagnostics
_TEACHER = "teacher.json"


@dataclass(frozen=True)
class Episode:
    """A filmed episode of a student."""

    path: Path
    kind: str  # worst or best, and of how many
    outcome: str
    seed: int


@dataclass(frozen=True)
class Entry:
    """A run, or a student's bundle that was shipped without its run."""

    run: Run
    shipped: bool
    described: Mapping[str, Any]  # its config.json, or the bundle's description
    student_sha256: str | None
    video: Path | None
    pictures: tuple[Path, ...]  # diagnostics, including .mp4, and curves of shipped students
    episodes: tuple[Episode, ...]  # the worst and the best, filmed by `Evaluation.gallery`
    # By the file's name without suffix: its JSON, or the reason why it cannot be read.
    diagnostics: Mapping[str, dict[str, Any] | str]


@dataclass(frozen=True)
class Film:
    """A side-by-side video."""

    path: Path
    task: str
    seed: int
    players: str
    command: str


@dataclass(frozen=True)
class TeacherBundle:
    """A teacher's name and returns, to identify the teacher of students without its hash."""

    name: str  # of its folder
    returns: tuple[float, ...]  # on evaluation seeds

    def has_return(self, value: float, n_episodes: int) -> bool:
        """Return whether `value` is its mean return on the first `n_episodes` evaluation seeds."""
        first = self.returns[:n_episodes]
        return len(first) == n_episodes > 0 and math.isclose(sum(first) / n_episodes, value)


@dataclass
class Found:
    """The content that was found, and the problems on the way."""

    entries: list[Entry] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    teachers: dict[str, TeacherBundle] = field(default_factory=dict)  # by SHA-256
    problems: list[str] = field(default_factory=list)


def find_entries(folders: Sequence[Path]) -> Found:
    """Find everything in and below some folders; damaged files are listed in `problems`.

    Raises:
        UserError: a folder does not exist, or there is neither a run nor a student in any.
    """
    found = Found()
    for path in _named(folders, CONFIG_FILE):
        _collect(found, _read_run, path)
    _leave_out_copies(found)
    for path in _named(folders, STUDENT_FILE):
        if not any((parent / CONFIG_FILE).is_file() for parent in list(path.parents)[:3]):
            _collect(found, _read_shipped, path)
    for path in _named(folders, "*.json"):
        if path.with_suffix(".mp4").is_file():
            film = _read_film(path)
            found.films += [] if film is None else [film]
    for path in _named(folders, _TEACHER):
        described = _object(path, [])
        if isinstance(described.get("sha256"), str):
            found.teachers.setdefault(described["sha256"], _read_teacher(path.parent, described))
    if not found.entries:
        names = ", ".join(map(str, folders))
        why = "".join(f"\n  {problem}" for problem in found.problems)
        raise UserError(f"Neither a student's run nor a student's bundle found in {names}.{why}")
    return found


def _leave_out_copies(found: Found) -> None:
    kept: dict[str, Entry] = {}
    for entry in found.entries:
        first = kept.setdefault(identity(entry.run), entry)
        if first is not entry:
            found.problems.append(f"Omitted: {entry.run.folder} is a copy of {first.run.folder}.")
    found.entries = list(kept.values())


def _named(folders: Sequence[Path], name: str) -> Iterator[Path]:
    seen = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Give run folders, or folders of them.")
        for path in sorted(folder.rglob(name)):
            if path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _collect(found: Found, read: Callable[[Path], Entry | None], path: Path) -> None:
    try:
        entry = read(path)
    except (UserError, OSError) as error:
        found.problems.append(f"Omitted: {error}")
        return
    if entry is not None:
        found.entries.append(entry)


def _read_run(path: Path) -> Entry | None:
    """Read the run of a `config.json`; return None if it is of a teacher or a dataset."""
    folder = path.parent
    described = _object(path)
    config = described.get("config")
    if not isinstance(config, dict) or "method" not in config:
        return None
    run = read_run(folder)
    if not isinstance(run.method, str) or "training" not in run.config:
        raise UserError(f"{folder} was written by an older version.")
    problems: list[str] = []
    bundle = _object(folder / STUDENT / STUDENT_FILE, problems) or _object(
        folder / STUDENT_FILE, problems
    )
    return Entry(
        run=run,
        shipped=False,
        described=described,
        student_sha256=bundle.get("sha256"),
        video=_video(folder),
        pictures=_pictures(folder),
        episodes=_episodes(folder),
        diagnostics=_diagnostics(folder),
    )


def _read_shipped(path: Path) -> Entry:
    folder, described = path.parent, _object(path)
    config, method = described.get("config"), described.get("method")
    teacher = described.get("teacher")
    if not isinstance(config, dict) or not isinstance(described.get("task"), str):
        raise UserError(f"{path} does not describe a student of a task.")
    run = Run(
        folder,
        {
            "task": described["task"],
            "method": method if isinstance(method, str) else "student",
            "student": {"mode": str(config.get("mode", "")), "size": config.get("size")},
            "training": {"run_index": 0},
        },
        teacher.get("sha256") if isinstance(teacher, dict) else None,
        "",
        _object(folder / FIGURES_FILE) or None,
    )
    return Entry(
        run=run,
        shipped=True,
        described=described,
        student_sha256=described.get("sha256"),
        video=_video(folder),
        pictures=(*folder.glob(CURVES_FILE), *_pictures(folder)),
        episodes=_episodes(folder),
        diagnostics=_diagnostics(folder),
    )


def _read_teacher(folder: Path, described: Mapping[str, Any]) -> TeacherBundle:
    try:
        returns = tuple(map(float, described["baselines"]["teacher"]["evaluation"]))
    except (KeyError, TypeError, ValueError):
        returns = ()
    return TeacherBundle(folder.name, returns)


def _video(folder: Path) -> Path | None:
    places = (folder / VIDEOS / "student.mp4", folder / "student.mp4")
    others = sorted((folder / VIDEOS).glob("*.mp4"), reverse=True)  # by step, latest first
    return next((path for path in (*places, *others) if path.is_file()), None)


def _pictures(folder: Path) -> tuple[Path, ...]:
    found = (folder / DIAGNOSTICS).glob("*")
    return tuple(sorted(path for path in found if path.suffix in (".png", ".mp4")))


def _diagnostics(folder: Path) -> dict[str, dict[str, Any] | str]:
    found: dict[str, dict[str, Any] | str] = {}
    for path in sorted((folder / DIAGNOSTICS).glob("*.json")):
        problems: list[str] = []
        value = _object(path, problems)
        found[path.stem] = value or next(iter(problems), f"{path} is empty.")
    return found


def _episodes(folder: Path) -> tuple[Episode, ...]:
    path = folder / DIAGNOSTICS / GALLERY
    try:
        return tuple(
            Episode(
                path.parent / PurePath(e["video"]).name, str(e["kind"]), e["outcome"], e["seed"]
            )
            for e in _object(path, []).get("episodes", ())
        )
    except (KeyError, TypeError):
        return ()


def _read_film(path: Path) -> Film | None:
    described = _object(path, [])
    if described.get("kind") != FILM:
        return None
    try:
        names = "; ".join(f"{p['name']}: {p['return']:.1f}" for p in described["players"])
        names = names.replace(": -", ": \u2212")
        task, seed, command = (described[name] for name in ("task", "seed", "command"))
        return Film(path.with_suffix(".mp4"), str(task), int(seed), names, str(command))
    except (KeyError, TypeError, ValueError):
        return None


def _object(path: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """Return the JSON object of a file; an empty one if there is no file.

    A damaged file raises UserError or, if `problems` is given, is added to it.
    """
    try:
        return read_object(path) or {}
    except UserError as error:
        if problems is None:
            raise
        problems.append(str(error))
        return {}
