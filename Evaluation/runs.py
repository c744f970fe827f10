"""Read runs from their folders: configuration, metrics and figures."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from Common.commands.progress import tracked
from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.files.typed_json import typed
from Common.runs.files import CONFIG_FILE, metrics_file, read_metrics
from Common.runs.run_folder import DIAGNOSTICS, FIGURES_FILE, STUDENT
from Evaluation.tool import print_note

FEWEST_EPISODES = 5  # of an evaluation that is used to compare runs
SKILL = "eval/od_skill"  # of the student, on validation seeds
SECONDS = "time/seconds"
STUDENT_FILE = "student.json"  # of a student's bundle
OTHER_FRAMES = "frames of another episode"  # the variant that decides whether sight is used

# What runs of versions that lack these flags did. Such runs are of one experiment with newer ones.
OF_OLDER_RUNS: Mapping[str, Any] = {
    "rgb": False,
    "depth": False,
    "camera_encoders": "shared",
    "keypoints": 0,
    "randomise_looks": False,
    "recurrent": "none",
    "simulator": "gymnasium",
    "teacher_critic": False,
    "clip_teacher_mean": False,
}
# Types of the values that are read; older versions lack some of them, or wrote null.
_DESCRIBED: dict[str, Any] = {
    **dict.fromkeys(("teacher_sha256", "command", "git_sha"), str),
    "teacher": dict[str, str],
    "versions": dict[str, str],
}
_CONFIGURED: dict[str, Any] = {
    "task": str,
    "method": str | dict[str, Any],  # an object in the oldest versions, which tools omit
    "student": {"mode": str, "size": str, "blind": bool},
    "training": {
        **dict.fromkeys(("run_index", "batch_size", "num_epochs"), int),
        "PPD_parameter": float,
        "lambda_schedule": str,
    },
    "teaching": {"teacher": str, "min_teacher_std": float, "corrupt_teacher": float},
    "corruption": {"sigma": float, "seed": int, "uncorrupted_sha256": str},
}


@dataclass(frozen=True)
class Run:
    """A run folder. Values that an interrupted run lacks are None."""

    folder: Path
    config: Mapping[str, Any]  # the flags, by group, with `task` and `method`
    teacher_sha256: str | None
    command: str
    figures: Mapping[str, float] | None  # on evaluation seeds, of the best student
    teacher_identity: str | None = None  # None in old runs

    @property
    def task(self) -> str:
        return self.config["task"]

    @property
    def method(self) -> str:
        return self.config["method"]

    @property
    def mode(self) -> str:
        return self.config["student"]["mode"]

    @property
    def run_index(self) -> int:
        return self.config["training"]["run_index"]

    @property
    def is_barely_evaluated(self) -> bool:
        """Whether its figures are over too few episodes to be compared."""
        episodes = (self.figures or {}).get("episodes")
        return isinstance(episodes, int | float) and episodes < FEWEST_EPISODES

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The logging points."""
        return read_metrics(self.folder)

    @cached_property
    def sight(self) -> Mapping[str, Any]:
        """The figures with frames of another episode, of `Evaluation.sight`; empty if not tested.

        The file is recognised by its content. Damaged files are skipped; the report names them.
        """
        for path in sorted((self.folder / DIAGNOSTICS).glob("*.json")):
            with contextlib.suppress(UserError):
                variants = (read_object(path) or {}).get("variants")
                figures = variants.get(OTHER_FRAMES) if isinstance(variants, dict) else None
                if isinstance(figures, dict):
                    return figures
        return {}

    def last(self, metric: str) -> float | None:
        """Return the last logged value of a metric."""
        values = (point[metric] for point in reversed(self.metrics) if metric in point)
        return next(values, None)

    def seconds_to(self, skill: float) -> float | None:
        """Return the seconds of training, including evaluations, until this skill was reached.

        An evaluation has the time of its logging point, or of the next point with a time.
        """
        reached = False
        for point in self.metrics:
            reached = reached or (point.get(SKILL) or -1.0) >= skill
            if reached and SECONDS in point:
                return point[SECONDS]
        return self.last(SECONDS) if reached else None


def read_run(folder: Path | str) -> Run:
    """Read the run of a folder.

    Raises:
        UserError: the folder is not a student's run, or its files are damaged.
    """
    folder = Path(folder)
    described = read_object(folder / CONFIG_FILE)
    if described is None:
        raise UserError(f"{folder} is not a run folder: it has no {CONFIG_FILE}.")
    config = described.get("config")
    if not isinstance(config, dict) or not {"task", "method", "student"} <= config.keys():
        raise UserError(f"{folder / CONFIG_FILE} does not describe a student's run.")
    check_configuration(folder / CONFIG_FILE, described)
    return Run(
        folder,
        config,
        described.get("teacher_sha256"),
        described.get("command", ""),
        read_object(folder / FIGURES_FILE),
        (described.get("teacher") or {}).get("identity"),
    )


def check_configuration(path: Path, described: Mapping[str, Any]) -> None:
    """Check the types of the values of a run's description.

    Raises:
        UserError: a value has the wrong type.
    """
    config = described["config"]
    try:
        for name, annotation in _DESCRIBED.items():
            if described.get(name) is not None:
                typed(annotation, described[name], name)
        for group, settings in _CONFIGURED.items():
            given = config.get(group)
            if group not in config or (
                given is None and group not in ("task", "method", "student")
            ):
                continue
            if not isinstance(settings, dict):
                typed(settings, given, group)
                continue
            given = typed(dict[str, Any], given, group)
            for name, annotation in settings.items():
                if given.get(name) is not None:
                    typed(annotation, given[name], f"{group}.{name}")
        if "mode" not in config.get("student", {"mode": ""}):
            raise ValueError("student has no mode")
        if "run_index" not in config.get("training", {"run_index": 0}):
            raise ValueError("training has no run_index")
    except ValueError as error:
        raise UserError(f"{path} does not describe a run: {error}.") from error


def find_runs(folders: Sequence[Path | str]) -> list[Run]:
    """Return the runs in and below folders, sorted by path, without duplicates.

    A copy of a run counts once, with a note: it is no further seed.

    Raises:
        UserError: a folder does not exist, or none of them holds a student's run.
    """
    found: dict[Path, Run] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Give run folders, or folders of them.")
        paths = list(_run_folders(folder))
        for path in tracked(paths, len(paths), "runs"):
            found.setdefault(path.resolve(), read_run(path))
    if not found:
        names = ", ".join(map(str, folders))
        raise UserError(f"No student's run found in {names}: there is no {CONFIG_FILE}.")
    distinct, kept, copies = DistinctRuns(), list[Run](), list[str]()
    for run in (found[path] for path in sorted(found)):
        first = distinct.first_of(run)
        if first is run:
            kept.append(run)
        else:
            copies.append(f"{run.folder} is a copy of {first.folder}")
    if copies:
        print_note(f"Each run counts once: {'; '.join(copies)}.")
    return kept


class DistinctRuns:
    """Finds copies of runs: they have the same settings, teacher and student's weights.

    If one of two lacks an undamaged student, as packed runs do, their metrics and figures are
    compared instead. Their places are not part of their settings.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Run, str | None]]] = {}  # with the student's hash

    def first_of(self, run: Run) -> Run:
        """Return the first run given of which this is a copy; the run itself if there is none."""
        settings = {name: group for name, group in run.config.items() if name != "run"}
        sha256 = _student_sha256(run)
        alike = self._known.setdefault(
            json.dumps([settings, run.teacher_sha256], sort_keys=True), []
        )
        for other, others in alike:
            has_both = sha256 is not None and others is not None
            if sha256 == others if has_both else _record(run) == _record(other):
                return other
        alike.append((run, sha256))
        return run


def _student_sha256(run: Run) -> str | None:
    with contextlib.suppress(UserError):
        return (read_object(run.folder / STUDENT / STUDENT_FILE) or {}).get("sha256")
    return None


def _record(run: Run) -> list[Any]:
    with contextlib.suppress(UserError):
        return [run.figures, run.metrics]
    return [run.figures]


def _run_folders(folder: Path) -> Iterator[Path]:
    for path in files_below(folder, CONFIG_FILE):
        # Teachers and datasets have a config.json too, but no method.
        if metrics_file(path.parent) is not None and _describes_student(path):
            yield path.parent


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose names match a pattern, sorted.

    Links to folders are followed. A folder with several paths is read by one of them, without
    links if there is such a path: a link to a folder above it ends there.
    """
    found, seen, waiting = list[Path](), set[Path](), deque([folder])
    while waiting:
        place = waiting.popleft()
        real = place.resolve()
        if real in seen:
            continue
        seen.add(real)
        with contextlib.suppress(OSError):  # not readable
            for path in sorted(place.iterdir()):
                if isdir(path):  # False, unlike that of `Path`, where a link leads nowhere readable
                    (waiting.append if path.is_symlink() else waiting.appendleft)(path)
                elif isfile(path) and fnmatchcase(path.name, pattern):
                    found.append(path)
    return sorted(found)


def _describes_student(path: Path) -> bool:
    described = read_object(path)
    config = None if described is None else described.get("config")
    return isinstance(config, dict) and "method" in config
