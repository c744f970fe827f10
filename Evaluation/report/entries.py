"""Find the content of a report: runs, students shipped without their runs, and films."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.runs.files import CONFIG_FILE
from Common.runs.run_folder import CURVES_FILE, DIAGNOSTICS, FIGURES_FILE, STUDENT, VIDEOS
from Evaluation.runs import STUDENT_FILE, DistinctRuns, Run, files_below, read_run

FILM = "side_by_side"  # the kind in a video's description
GALLERY = "gallery/gallery.json"  # in the folder of diagnostics
MINUS = "\u2212"


@dataclass(frozen=True)
class Film:
    """A side-by-side video, or a filmed episode of a student."""

    path: Path
    title: str
    note: str
    task: str = ""  # of a side-by-side video


@dataclass(frozen=True)
class Entry:
    """A run, or a student's bundle that was shipped without its run."""

    run: Run
    shipped: bool
    described: Mapping[str, Any]  # its config.json, or the bundle's description
    student_sha256: str | None

    @property
    def name(self) -> str:
        """Return a name that distinguishes a run from the others of its row."""
        return "shipped student" if self.shipped else f"run_index {self.run.run_index}"

    @property
    def video(self) -> Path | None:
        folder = self.run.folder
        places = (folder / VIDEOS / "student.mp4", folder / "student.mp4")
        others = sorted((folder / VIDEOS).glob("*.mp4"), reverse=True)  # by step, latest first
        return next((path for path in (*places, *others) if path.is_file()), None)

    @property
    def pictures(self) -> list[Path]:
        """Return the diagnostics, including .mp4, and the curves of shipped students."""
        curves = self.run.folder.glob(CURVES_FILE) if self.shipped else ()
        found = sorted((self.run.folder / DIAGNOSTICS).glob("*"))
        return [*curves, *(path for path in found if path.suffix in (".png", ".mp4"))]

    @property
    def diagnostics(self) -> dict[str, dict[str, Any] | str]:
        """Return JSON by the file's name without suffix, or the reason why it cannot be read."""
        found: dict[str, dict[str, Any] | str] = {}
        for path in sorted((self.run.folder / DIAGNOSTICS).glob("*.json")):
            try:
                found[path.stem] = read_object(path) or f"{path} is empty."
            except UserError as error:
                found[path.stem] = str(error)
        return found

    @property
    def episodes(self) -> list[Film]:
        """Return the worst and the best, filmed by `Evaluation.gallery`."""
        path = self.run.folder / DIAGNOSTICS / GALLERY
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            return [
                Film(
                    path.parent / PurePath(episode["video"]).name,
                    f"{episode['kind'].capitalize()}: {episode['outcome'].replace('-', MINUS)}",
                    f"seed {episode['seed']}",
                )
                for episode in _known(path).get("episodes", ())
            ]
        return []


@dataclass(frozen=True)
class TeacherBundle:
    """A teacher's name and returns, to identify the teacher of students without its hash."""

    name: str  # of its folder
    returns: tuple[float, ...]  # on evaluation seeds


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
    found, distinct = Found(), DistinctRuns()
    paths = [*_named(folders, CONFIG_FILE), *_named(folders, STUDENT_FILE)]
    for path in paths:
        try:
            entry = _read_run(path) if path.name == CONFIG_FILE else _read_shipped(path)
        except (UserError, OSError) as error:
            found.problems.append(f"Omitted: {error}")
            continue
        if entry is None:
            continue
        first = entry.run if entry.shipped else distinct.first_of(entry.run)
        if first is entry.run:
            found.entries.append(entry)
        else:
            found.problems.append(f"Omitted: {entry.run.folder} is a copy of {first.folder}.")
    for path in _named(folders, "*.json"):
        if path.with_suffix(".mp4").is_file() and (film := _read_film(path)):
            found.films.append(film)
    for path in _named(folders, "teacher.json"):
        described = _known(path)
        if isinstance(described.get("sha256"), str):
            found.teachers.setdefault(described["sha256"], _read_teacher(path.parent, described))
    if not found.entries:
        names = ", ".join(map(str, folders))
        why = "".join(f"\n  {problem}" for problem in found.problems)
        raise UserError(f"Neither a student's run nor a student's bundle found in {names}.{why}")
    return found


def _named(folders: Sequence[Path], name: str) -> Iterator[Path]:
    seen = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Give run folders, or folders of them.")
        for path in files_below(folder, name):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _read_run(path: Path) -> Entry | None:
    """Read the run of a `config.json`; return None if it is of a teacher or a dataset."""
    folder, described = path.parent, read_object(path) or {}
    config = described.get("config")
    if not isinstance(config, dict) or "method" not in config:
        return None
    run = read_run(folder)
    if not isinstance(run.method, str) or "training" not in run.config:
        raise UserError(f"{folder} was written by an older version.")
    bundle = _known(folder / STUDENT / STUDENT_FILE) or _known(folder / STUDENT_FILE)
    return Entry(run, False, described, bundle.get("sha256"))


def _read_shipped(path: Path) -> Entry | None:
    """Read a student's bundle; return None if it is that of a run."""
    if any((parent / CONFIG_FILE).is_file() for parent in list(path.parents)[:3]):
        return None
    folder, described = path.parent, read_object(path) or {}
    config, method, teacher = (described.get(name) for name in ("config", "method", "teacher"))
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
        read_object(folder / FIGURES_FILE) or None,
    )
    return Entry(run, True, described, described.get("sha256"))


def _read_teacher(folder: Path, described: Mapping[str, Any]) -> TeacherBundle:
    try:
        returns = tuple(map(float, described["baselines"]["teacher"]["evaluation"]))
    except (KeyError, TypeError, ValueError):
        returns = ()
    return TeacherBundle(folder.name, returns)


def _read_film(path: Path) -> Film | None:
    described = _known(path)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if described["kind"] == FILM:
            players = (f"{p['name']}: {p['return']:.1f}" for p in described["players"])
            scores = "; ".join(players).replace(": -", f": {MINUS}")
            title = f"Return on seed {described['seed']}. {scores}"
            return Film(path.with_suffix(".mp4"), title, described["command"], described["task"])
    return None


def _known(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file; an empty one if there is no file, or it is damaged."""
    with contextlib.suppress(UserError):
        return read_object(path) or {}
    return {}
