"""Read grids of runs: one command and run folder per combination of a YAML file's values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Algorithm.method_registry import LEARNERS, METHODS
from Common.errors import UserError
from Common.files.yaml_file import read_mapping
from Common.names import nearest
from Common.runs import run_folder
from Distillation.flags.groups import canonical_mode
from Distillation.flags.parse import default_values
from Distillation.flags.tokens import tokens
from Distillation.flags.uses import USES
from Enviroment.task import Task
from Enviroment.tasks import TASKS

_SETTINGS = ("output", "threads", "retries", "resources", "grids")
# Axes with a key of their own: the flag, and the format of its values in run names.
_AXES = {
    "modes": ("mode", "{}"),
    "sizes": ("size", "{}"),
    "lambda": ("PPD_parameter", "lambda{}"),
    "corruption": ("corrupt_teacher", "corrupt{}"),
    "teachers": ("teacher", "{}"),
    "seeds": ("run_index", "run{}"),
}
_BLOCK = ("name", "tasks", "methods", *_AXES, "teacher_seeds", "axes", "flags")
# Flags that a grid sets otherwise, and how.
_NOT_A_FLAG = {
    "teacher": "List teachers under `teachers`.",
    "run_index": "List indices under `seeds`.",
    "threads": "Give `threads` at the top level.",
    "output": "Give `output` at the top level: each run has a folder below it.",
    "config": "Write the flags of that file under `flags`.",
    **dict.fromkeys(("resume", "overwrite"), "Interrupted runs resume automatically."),
    "collect_missing": "Parallel runs would all collect it: collect it first, with --C_data.",
    **dict.fromkeys(METHODS, "List methods under `methods`."),
}
_DISTINGUISH = (
    "give one of the blocks a `name`, or name the values of an axis that look alike: "
    "`{name: value}`."
)
_MAX_RUNS = 10_000  # per grid
_SEED_FIELD = "{teacher_seed}"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid."""

    task: Task
    method: str
    settings: Mapping[str, Any]  # flag -> value; None: default
    name: str  # path of its folder below the grid's

    def arguments(self, *left_out: str) -> tuple[str, ...]:
        """Return the command-line arguments.

        Raises:
            UserError: a flag has a value of the wrong type.
        """
        given = {flag: value for flag, value in self.settings.items() if flag not in left_out}
        return (f"--{self.method}", *tokens(given, default_values(self.task, (self.method,))))


@dataclass(frozen=True)
class Grid:
    """The contents of a grid file; `Distillation.sweeps.checks` checks the runs."""

    source: Path
    output: Path  # holds the folders of its runs
    threads: int  # per run
    retries: int  # per failed run
    cpus: float  # reserved by Ray per run
    gpus: float
    runs: tuple[PlannedRun, ...]
    problems: tuple[str, ...] = ()  # errors in the file, one per line


def read_grid(path: Path, changes: Mapping[str, Any], output: Path | None) -> Grid:
    """Return the grid of a file.

    Args:
        changes: keys of a grid or flags, with values that replace those of the file.
        output: replaces the output of the file.

    Raises:
        UserError: the file cannot be read or is not a grid, or the output is given twice.
    """
    content = read_mapping(
        path,
        f"The grid {path}",
        wrong_form="is not YAML",
        holds="keys and values, such as `tasks: Pusher`",
    )
    if output is not None and "output" in changes:
        raise UserError("--output and --set output both set the folder: give only one.")
    problems: list[str] = []
    if "grids" in changes:
        problems.append("--set cannot change `grids`. Change its blocks in the file.")
    blocks = content.get("grids", [{}])
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{path}: `grids` is a list of mappings, each with keys of a grid.")
    for where, keys in [("", content), *(("grids: ", block) for block in blocks)]:
        known = (*_SETTINGS, *_BLOCK) if keys is content else _BLOCK
        problems += [f"{where}{_unknown('key', key, known)}" for key in keys if key not in known]
    shared = {key: content[key] for key in content if key in _BLOCK}
    runs: list[PlannedRun] = []
    for block in blocks:
        combinations = _Block(_merged(shared, block, changes), problems)
        if len(runs) + combinations.count() > _MAX_RUNS:
            raise UserError(
                f"{path}: with {len(runs) + combinations.count():,} combinations the grid has more "
                f"than {_MAX_RUNS:,} runs. List fewer values, or make several grids."
            )
        runs += combinations.runs()
    problems += _duplicates(runs)
    # Complete the comparison on seed 0 before starting seed 1.
    runs.sort(key=lambda run: str(run.settings["run_index"]).zfill(3))
    changed = {**content, **changes}
    settings = _settings(changed, problems)
    named = changed.get("output") if output is None else output
    folder = run_folder.locate(
        None if named is None else Path(str(named)), Path("sweeps") / path.stem
    )
    unique = tuple(dict.fromkeys(problems))
    return Grid(path, folder, **settings, runs=tuple(runs), problems=unique)


class _Block:
    """One block of a grid, including the shared keys: the product of its axes.

    Args:
        problems: list to which errors are added.
    """

    def __init__(self, keys: Mapping[str, Any], problems: list[str]) -> None:
        self._keys, self._problems = keys, problems

    def count(self) -> int:
        """Return an upper bound of the number of combinations, without creating them."""
        keys = self._keys
        given = [keys.get("tasks"), keys.get("methods"), *(keys.get(key) for key in _AXES)]
        further = keys.get("axes")
        given += further.values() if isinstance(further, dict) else []
        if keys.get("teachers") is not None:
            given.append(keys.get("teacher_seeds"))
        return math.prod(
            max(1, len(values) if isinstance(values, dict) else len(_values(values)))
            for values in given
        )

    def runs(self) -> Iterator[PlannedRun]:
        """Yield one run per combination."""
        fixed, axes = self._fixed(), self._axes()
        for flag in fixed.keys() & axes.keys():
            self._problems.append(f"{flag} is given twice: under `flags`, and as an axis.")
        tasks, methods = list(self._tasks()), list(self._methods())
        label = self._keys.get("name")
        values_of = list(itertools.product(*axes.values()))
        for task, method, values in itertools.product(tasks, methods, values_of):
            settings = {**fixed, **{flag: v for flag, (v, _) in zip(axes, values, strict=True)}}
            if isinstance(teacher := settings.get("teacher"), str):
                settings["teacher"] = str(Path(teacher.replace("{task}", task.name)).absolute())
            words = [_plain(label)] if label is not None else []
            words += [word for _, word in values if word]
            name = f"{task.name}/{method}/{'_'.join(words)}"
            yield PlannedRun(task, method, settings, name)

    def _tasks(self) -> Iterator[Task]:
        for name in _values(self._keys.get("tasks")):
            if isinstance(name, str) and name in TASKS:
                yield TASKS[name]
            else:
                self._problems.append(f"tasks: {_unknown('task', name, TASKS)}")
        if not _values(self._keys.get("tasks")):
            self._problems.append(f"`tasks` is missing: one or more of {', '.join(TASKS)}.")

    def _methods(self) -> Iterator[str]:
        students = list(LEARNERS)
        for name in _values(self._keys.get("methods")):
            if name in students:
                yield name
            elif name == "C_data":
                self._problems.append("methods: C_data makes no student. Collect datasets first.")
            else:
                self._problems.append(f"methods: {_unknown('method', name, students)}")
        if not _values(self._keys.get("methods")):
            self._problems.append(f"`methods` is missing: one or more of {', '.join(students)}.")

    def _fixed(self) -> dict[str, Any]:
        given = self._mapping("flags")
        for flag in list(given):
            if not self._is_flag(flag, "flags"):
                del given[flag]
            elif isinstance(given[flag], (list, dict)):
                self._problems.append(f"flags: {flag} has one value; list values under `axes`.")
                del given[flag]
        return given

    def _axes(self) -> dict[str, list[tuple[Any, str]]]:
        """Return the values of each flag, with their texts in run names."""
        axes: dict[str, list[tuple[Any, str]]] = {}
        for key, (flag, form) in _AXES.items():
            if key == "seeds":
                axes |= self._further_axes(axes)  # the seed comes last in names
            given = self._teachers() if key == "teachers" else self._keys.get(key)
            if key == "seeds" and given is None:
                given = 0
            if given is None:
                continue
            axes[flag] = [(v, form.format(_plain(word))) for word, v in _named(flag, given)]
            if not axes[flag]:
                self._problems.append(f"{key} has no values.")
        return axes

    def _further_axes(self, known: Iterable[str]) -> dict[str, list[tuple[Any, str]]]:
        axes = {}
        for flag, given in self._mapping("axes").items():
            if flag in known:
                self._problems.append(f"axes: {flag} has a key of its own, which is also given.")
            elif self._is_flag(flag, "axes"):
                axes[flag] = [(v, f"{flag}{_plain(word)}") for word, v in _named(flag, given)]
                if not axes[flag]:
                    self._problems.append(f"axes: {flag} has no values.")
        return axes

    def _teachers(self) -> dict[str, str] | None:
        """Return teacher paths by name: the grid's name, or the last part of the path."""
        given, seeds = self._keys.get("teachers"), _values(self._keys.get("teacher_seeds"))
        if given is None:
            if seeds:
                self._problems.append(f"teacher_seeds replace {_SEED_FIELD}: list `teachers`.")
            return None
        paths = given.items() if isinstance(given, dict) else ((None, p) for p in _values(given))
        teachers: dict[str, str] = {}
        for word, path in paths:
            text = str(path)
            if (_SEED_FIELD in text) != bool(seeds):
                what = "and no teacher_seeds are given" if not seeds else "for teacher_seeds"
                where = "has" if not seeds else "lacks"
                self._problems.append(f"teachers: {text} {where} {_SEED_FIELD}, {what}.")
            for seed in seeds or [""]:
                filled = text.replace(_SEED_FIELD, str(seed))
                last = f"{word}{seed}" if word is not None else _last_part(filled)
                if teachers.setdefault(last, filled) != filled:
                    self._problems.append(
                        f"teachers: {filled} and {teachers[last]} would have the same name in run "
                        "folders. Name them: `teachers: {one: PATH, other: PATH}`."
                    )
        return teachers

    def _mapping(self, key: str) -> dict[str, Any]:
        given = self._keys.get(key) or {}
        if not isinstance(given, dict):
            self._problems.append(f"`{key}` holds flags and their values, such as `num_envs: 8`.")
            return {}
        return dict(given)

    def _is_flag(self, flag: str, where: str) -> bool:
        if flag in _NOT_A_FLAG:
            self._problems.append(f"{where}: {flag} is set otherwise. {_NOT_A_FLAG[flag]}")
            return False
        positive = str(flag).removeprefix("no_")
        if flag not in USES and positive in USES:
            self._problems.append(f"{where}: there is no flag {flag!r}: write `{positive}: false`.")
            return False
        if flag not in USES:
            usable = [name for name in USES if name not in _NOT_A_FLAG]
            self._problems.append(f"{where}: {_unknown('flag', flag, usable)}")
            return False
        return True


def _merged(
    shared: Mapping[str, Any], block: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge shared keys, a block and changes, in rising precedence; flags and axes one by one."""
    merged = {**shared, **block}
    for key in ("flags", "axes"):
        parts = [part[key] for part in (shared, block) if part.get(key) is not None]
        wrong = [part for part in parts if not isinstance(part, dict)]
        # Keep an invalid value, so that it is reported.
        merged[key] = (
            wrong[0] if wrong else dict(itertools.chain.from_iterable(map(dict.items, parts)))
        )
    flags = {k: v for k, v in changes.items() if k not in _BLOCK and k not in _SETTINGS}
    if flags and isinstance(merged["flags"], dict):
        merged["flags"] |= flags
    if flags and isinstance(merged["axes"], dict):  # a changed flag is no longer an axis
        merged["axes"] = {k: values for k, values in merged["axes"].items() if k not in flags}
    return {**merged, **{key: value for key, value in changes.items() if key in _BLOCK}}


def _settings(given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return threads, retries and resources, with defaults in place of invalid values."""
    counts = {"threads": (1, 1), "retries": (1, 0)}  # default, least
    settings: dict[str, Any] = {}
    for name, (default, least) in counts.items():
        value = settings[name] = given.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.append(f"{name}: {value!r} is no integer of at least {least}.")
            settings[name] = default
    resources = given.get("resources") or {}
    if not isinstance(resources, dict):
        problems.append("resources: give `{cpus: 1, gpus: 0.25}`, per run.")
        resources = {}
    known = {"cpus": settings["threads"], "gpus": 0}
    problems += [f"resources: {_unknown('key', k, known)}" for k in resources if k not in known]
    for name, default in known.items():
        value = settings[name] = resources.get(name, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Ray supports fractions of a single CPU or GPU, and only whole ones above that.
        if not number or not 0 <= value < math.inf or (value > 1 and value != int(value)):
            problems.append(f"resources: {name}: {value!r} is neither in [0, 1] nor an integer.")
    return settings


def _duplicates(runs: Iterable[PlannedRun]) -> list[str]:
    seen: dict[str, PlannedRun] = {}
    problems = []
    for run in runs:
        if seen.setdefault(run.name, run) is not run:
            same = seen[run.name].settings == run.settings
            problems.append(
                f"{run.name} appears twice: " + ("list each value once." if same else _DISTINGUISH)
            )
    return problems


def _canonical(flag: str, value: Any) -> Any:
    """Return the stored spelling of a value."""
    return canonical_mode(value) if flag == "mode" and isinstance(value, str) else value


def _values(given: Any) -> list[Any]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _named(flag: str, given: Any) -> list[tuple[Any, Any]]:
    """Return the values of a flag after what names them in runs: their name, else the value."""
    pairs = given.items() if isinstance(given, dict) else ((v, v) for v in _values(given))
    return [(_canonical(flag, word), _canonical(flag, value)) for word, value in pairs]


def _plain(value: Any) -> str:
    """Return a value as part of a folder name."""
    text = "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    text = _last_part(text) if "/" in text else text
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text)


def _last_part(path: str) -> str:
    # "Results/Pusher/teachers/ppo" -> "ppo"; "{task}" is in the folders above.
    return Path(path.replace("{task}", "")).name


def _unknown(what: str, name: Any, known: Iterable[str]) -> str:
    return f"there is no {what} {str(name)!r}. Did you mean {nearest(str(name), known)}?"
