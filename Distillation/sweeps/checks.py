"""Check all runs of a grid with the parser of the scripts, before any run starts."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

from Common.commands.redaction import redact
from Common.differences import differences, plain_json
from Common.errors import UserError, fields_as_flags
from Common.files.bounded_read import read_json
from Common.runs import run_folder
from Common.runs.files import CONFIG_FILE
from Distillation.flags.frames import framed
from Distillation.flags.in_force import comparable, effective_settings
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Distillation.flags.tokens import parser_error_as_user_error
from Distillation.flags.uses import UnusedFlagsError
from Distillation.resume import MAY_DIFFER
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import read_initial_student
from Distillation.starting.own_encoder import import_encoder, with_backbone
from Distillation.sweeps.grid import Grid, PlannedRun
from Enviroment import seeds
from Enviroment.dataset.reader import resolve_dataset
from Enviroment.task import Task
from Models.teacher.description import TeacherDescription
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

P = ParamSpec("P")
T = TypeVar("T")

_EXAMPLES = 2  # number of runs listed per error
# Checked separately, so that one parse (0.1 s) serves all seeds and teachers.
_PER_RUN = ("run_index", "teacher")


class GridError(UserError):
    """All errors of a grid."""

    def __init__(self, source: Path, problems: Iterable[str]) -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The grid {source} has errors; no run was started:\n{lines}")


def check_grid(grid: Grid) -> None:
    """Check a grid.

    Raises:
        GridError: the grid has errors. The message lists each once, with the runs concerned. The
            parser stops at the first error in the flags of a run.
    """
    runs_of: dict[str, list[str]] = {}
    checks = _Checks()
    for run in grid.runs:
        for problem in checks.problems(run, grid.output / run.name):
            runs_of.setdefault(problem, []).append(run.name)
    count = len(grid.runs)
    problems = [*grid.problems, *(_with_runs(*item, count) for item in runs_of.items())]
    if problems:
        raise GridError(grid.source, problems)


class _Checks:
    """Checks of one grid, which cache what runs have in common."""

    def __init__(self) -> None:
        self._parse = _cached(_parse)
        self._read_teacher = _cached(_read_teacher)
        self._check_dataset = _cached(resolve_dataset)

    def problems(self, run: PlannedRun, folder: Path) -> list[str]:
        """Return the errors of a run. Its folder is checked if flags and teacher have none."""
        flags, problems = None, []
        try:
            _check_run_index(run)
        except UserError as error:
            problems.append(str(error))
        try:
            flags = self._parse(run.task, run.arguments(*_PER_RUN))
        except UnusedFlagsError as error:
            problems.append(
                f"{error}\nGive the methods that use them a block of their own under `grids`."
            )
        except UserError as error:
            problems.append(str(error))
        try:
            teacher = self._read_teacher(_teacher(run), run.task.name)
            if flags is not None and not problems:
                flags = _with_run_values(flags, run)
                flags = self._check_inputs(run.task, flags, teacher)
                self._check_folder(run, flags, folder, teacher)
        except UserError as error:
            problems.append(str(error))
        return problems

    @fields_as_flags(FLAG_NAMES)
    def _check_inputs(self, task: Task, flags: Flags, teacher: TeacherDescription) -> Flags:
        """Return the flags, completed from the files that they name, as a run does."""
        import_encoder(flags)
        framed(task, flags)
        if task.is_game and importlib.util.find_spec("envpool") is None:
            raise UserError(
                f"{task.name} requires EnvPool, which is not installed. Install it: "
                "pip install -e '.[suites]'"
            )
        if flags.training.init_from is not None:
            initial = read_initial_student(flags.training.init_from)
            initial.check_task(task.name)
            flags = initial.flags(flags)
        chosen = flags.method.chosen
        if chosen.takes("rounds") and flags.cloning.folder_Dagger is not None:
            cloned = read_cloned_run(flags.cloning.folder_Dagger, task.name)
            if not flags.teaching.corrupt_teacher:  # otherwise the run compares the hash with noise
                cloned.check_teacher(teacher)
            flags = cloned.flags(flags)
        if chosen.takes("labels") and flags.cloning.dataset != "none":
            self._check_dataset(task, flags.cloning.dataset)
        return with_backbone(flags)[0]

    def _check_folder(
        self, run: PlannedRun, flags: Flags, folder: Path, teacher: TeacherDescription
    ) -> None:
        run_folder.locate(folder, Path())
        if (folder / CONFIG_FILE).is_file():
            self._check_same(run, flags, folder, teacher)
        else:
            run_folder.check_free(folder)

    def _check_same(
        self, run: PlannedRun, flags: Flags, folder: Path, teacher: TeacherDescription
    ) -> None:
        """Raise UserError if the folder holds a run with other settings.

        They are those in force at that time, not those that its command has by the present
        defaults.
        """
        path = folder / CONFIG_FILE
        try:
            written = read_json(path)
            was = comparable(written["config"])
            identity = written.get("teacher", {}).get("identity")
            teacher_sha256 = (
                written["config"]
                .get("corruption", {})
                .get("uncorrupted_sha256", written["teacher_sha256"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            raise UserError(f"{path} does not describe a run ({error!r}). Delete it.") from error
        now = {"task": run.task.name, "method": run.method, **effective_settings(flags)}
        now = redact(plain_json(now))
        differ = differences({name: was[name] for name in now}, now, MAY_DIFFER)
        if teacher_sha256 != teacher.sha256:
            differ.append(f"teacher_sha256: {teacher_sha256} and {teacher.sha256}")
        # The identity of a teacher with noise includes the noise: the run itself compares it.
        elif not flags.teaching.corrupt_teacher and identity not in (None, teacher.identity):
            differ.append(f"the teacher's identity: {identity} and {teacher.identity}")
        if differ:
            raise UserError(
                f"the run folder holds a run with other settings ({'; '.join(differ)}). "
                "Delete it, or name another `output`."
            )


def _cached(function: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of a function, including UserErrors."""

    @functools.cache
    def outcome(*args: P.args, **kwargs: P.kwargs) -> T | UserError:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            return error

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result = outcome(*args, **kwargs)
        if isinstance(result, UserError):
            raise result
        return result

    return call


def script_of(task: Task) -> tuple[str, ...]:
    """Return the path of a task's script, with the arguments that choose the task."""
    return tuple(f"Distillation/{task.script}".split())


def _parse(task: Task, arguments: tuple[str, ...]) -> Flags:
    return parser_error_as_user_error(lambda: parse(task, arguments))


def _read_teacher(folder: Path, task_name: str) -> TeacherDescription:
    """Return the description of a teacher. Raise UserError if it is of another task."""
    description = Teacher.load(folder).description
    if description.task and description.task != task_name:
        raise UserError(
            f"{folder} holds a teacher of {description.task}; the task is {task_name}. `{{task}}` "
            "in the path of a teacher stands for the task."
        )
    return description


@fields_as_flags(FLAG_NAMES)
def _check_run_index(run: PlannedRun) -> None:
    """Raise UserError unless the index of a run has seeds."""
    index = run.settings["run_index"]
    if not isinstance(index, int) or isinstance(index, bool):
        raise UserError(f"seeds: {index!r} is no integer.")
    seeds.model(index)  # raises if the index has no seeds


def _with_run_values(flags: Flags, run: PlannedRun) -> Flags:
    """Return the flags with the seed and the teacher of the run."""
    teacher = run.settings.get("teacher")
    teaching = {"teacher": None if teacher is None else Path(teacher)}
    return dataclasses.replace(
        flags,
        training=dataclasses.replace(flags.training, run_index=run.settings["run_index"]),
        teaching=dataclasses.replace(flags.teaching, **teaching),
    )


def _teacher(run: PlannedRun) -> Path:
    given = run.settings.get("teacher")
    return default_teacher(run.task.name) if given is None else Path(given)


def _with_runs(problem: str, runs: list[str], count: int) -> str:
    text = problem.replace("\n", "\n    ")
    if len(runs) == count and count > 1:
        return f"{text} (every run)"
    more = f" and {len(runs) - _EXAMPLES} more" if len(runs) > _EXAMPLES else ""
    return f"{text} ({', '.join(runs[:_EXAMPLES])}{more})"
