"""Whether the runs of a grid can be done: asked of the scripts' own parser, before any starts."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from Common.differences import differences, plain_json
from Common.errors import UserError, fields_as_flags
from Common.files.bounded_read import read_json
from Common.runs import run_folder
from Common.runs.tracking import CONFIG_FILE
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Distillation.flags.tokens import said_in_a_line
from Distillation.flags.uses import UselessFlagsError
from Distillation.resume import MAY_DIFFER
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import read_initial_student
from Distillation.sweeps.grid import Grid, Planned
from Enviroment.dataset.reader import resolve_dataset
from Enviroment.task import Task
from Models.teacher.description import TeacherDescription
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

P = ParamSpec("P")
T = TypeVar("T")

_EXAMPLES = 2  # of the runs that have a mistake in common
# Checked value by value, so that a parse (0.1 s) serves all seeds and teachers.
_PER_RUN = ("run_index", "teacher")


class GridError(UserError):
    """All mistakes of a grid."""

    def __init__(self, source: Path, problems: Iterable[str]) -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The grid {source} cannot be run; nothing was started:\n{lines}")


def check_grid(grid: Grid) -> None:
    """Refuses a grid with mistakes.

    Raises:
        GridError: lists them all, each once, with the runs that have it.
    """
    runs_of: dict[str, list[str]] = {}
    checks = _Checks()
    for run in grid.runs:
        for problem in checks.problems(run, grid.output / run.name):
            runs_of.setdefault(problem, []).append(run.name)
    count = len(grid.runs)
    problems = [*grid.problems, *(_told(text, names, count) for text, names in runs_of.items())]
    if problems:
        raise GridError(grid.source, problems)


class _Checks:
    """The checks of one grid; what many runs have in common is looked at once."""

    def __init__(self) -> None:
        self._parse = _remembering(_parse)
        self._read_teacher = _remembering(_read_teacher)
        self._check_dataset = _remembering(resolve_dataset)

    def problems(self, run: Planned, folder: Path) -> list[str]:
        """The mistakes of a run; those of its teacher and folder once its flags have none."""
        flags, problems = self._flags(run)
        try:
            teacher = self._read_teacher(_teacher(run), run.task.name)
            if flags is not None and not problems:
                self._check_inputs(run.task, flags, teacher)
                self._check_folder(run, flags, folder, teacher)
        except UserError as error:
            problems.append(str(error))
        return problems

    def _flags(self, run: Planned) -> tuple[Flags | None, list[str]]:
        """As the parser understands them. It stops at a first mistake, so that flags which it
        complains of are left out, one by one, until it has no more to say.
        """
        problems: list[str] = []
        left_out: list[str] = [*_PER_RUN]
        while True:
            try:
                flags = self._parse(run.task, run.arguments(*left_out))
                break
            except UselessFlagsError as error:
                problems.append(
                    f"{error}\nMethods that use them can have a block of their own under `grids`."
                )
                left_out += error.flags
            except UserError as error:
                problems.append(str(error))
                named = re.findall(r"--(\w+)", str(error))
                blamed = next((n for n in named if n in run.settings and n not in left_out), None)
                if blamed is None:
                    return None, problems
                left_out.append(blamed)
        try:
            return _completed(flags, run), problems
        except UserError as error:
            return None, [*problems, str(error)]

    @fields_as_flags(FLAG_NAMES)
    def _check_inputs(self, task: Task, flags: Flags, teacher: TeacherDescription) -> None:
        dataclasses.replace(task, frame_size=flags.frame_size)
        if task.is_game and importlib.util.find_spec("envpool") is None:
            raise UserError(
                f"{task.name} is played by EnvPool, which is not installed. Install it: "
                "pip install -e '.[suites]'"
            )
        if flags.training.init_from is not None:
            initial = read_initial_student(flags.training.init_from)
            initial.check_task(task.name)
            initial.flags(flags)
        chosen = flags.method.chosen
        if chosen.takes("rounds") and flags.cloning.folder_Dagger is not None:
            cloned = read_cloned_run(flags.cloning.folder_Dagger, task.name)
            if not flags.teaching.corrupt_teacher:  # or the run compares another hash
                cloned.check_teacher(teacher)
            flags = cloned.flags(flags)
        if chosen.takes("labels") and flags.cloning.dataset != "none":
            self._check_dataset(task, flags.cloning.dataset)

    def _check_folder(
        self, run: Planned, flags: Flags, folder: Path, teacher: TeacherDescription
    ) -> None:
        run_folder.locate(folder, Path())
        if (folder / CONFIG_FILE).is_file():
            self._check_same(run, flags, folder, teacher)
        else:
            run_folder.check_free(folder)

    def _check_same(
        self, run: Planned, flags: Flags, folder: Path, teacher: TeacherDescription
    ) -> None:
        """Refuses to take a run of other settings for this one."""
        path = folder / CONFIG_FILE
        try:
            written = read_json(path)
            command = shlex.split(written["command"])
            identity = written.get("teacher", {}).get("identity")
            taught_by = (
                written["config"]
                .get("corruption", {})
                .get("uncorrupted_sha256", written["teacher_sha256"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not describe a run ({error!r}). Delete it.") from error
        script = script_of(run.task)
        was = self._parse(run.task, tuple(command[len(script) + 1 :]))
        differ = differences(_described(was), _described(flags), MAY_DIFFER)
        if taught_by != teacher.sha256:
            differ.append(f"teacher_sha256: {taught_by} and {teacher.sha256}")
        # That of a teacher with noise is of the noise, too: the run itself compares it.
        elif not flags.teaching.corrupt_teacher and identity not in (None, teacher.identity):
            differ.append(f"the teacher's identity: {identity} and {teacher.identity}")
        if differ:
            raise UserError(
                f"the folder of the run holds one with other settings ({'; '.join(differ)}). "
                "Delete it, or name another `output`."
            )


def _remembering(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is called once for the same arguments, also where it raises UserError."""

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
    """The script of a task from the repository's root, with what chooses the task."""
    return tuple(f"Distillation/{task.script}".split())


def _parse(task: Task, arguments: tuple[str, ...]) -> Flags:
    return said_in_a_line(lambda: parse(task, arguments))


def _described(flags: Flags) -> dict[str, Any]:
    return plain_json(dataclasses.asdict(flags))


def _read_teacher(folder: Path, task_name: str) -> TeacherDescription:
    """Raises UserError where there is no teacher of that task."""
    description = Teacher.load(folder).description
    if description.task and description.task != task_name:
        raise UserError(
            f"{folder} holds a teacher of {description.task}; the task is {task_name}. `{{task}}` "
            "in the path of a teacher stands for the task."
        )
    return description


@fields_as_flags(FLAG_NAMES)
def _completed(flags: Flags, run: Planned) -> Flags:
    """With what differs between runs that were parsed together.

    Raises:
        UserError: the index has no seeds.
    """
    index = run.settings["run_index"]
    if not isinstance(index, int) or isinstance(index, bool):
        raise UserError(f"seeds: {index!r} is no whole number.")
    teacher = run.settings.get("teacher")
    teaching = {"teacher": None if teacher is None else Path(teacher)}
    return dataclasses.replace(
        flags,
        training=dataclasses.replace(flags.training, run_index=index),
        teaching=dataclasses.replace(flags.teaching, **teaching),
    )


def _teacher(run: Planned) -> Path:
    given = run.settings.get("teacher")
    return default_teacher(run.task.name) if given is None else Path(given)


def _told(problem: str, runs: list[str], count: int) -> str:
    text = problem.replace("\n", "\n    ")
    if len(runs) == count and count > 1:
        return f"{text} (every run)"
    more = f" and {len(runs) - _EXAMPLES} more" if len(runs) > _EXAMPLES else ""
    return f"{text} ({', '.join(runs[:_EXAMPLES])}{more})"
