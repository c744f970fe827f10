"""Read a finished run of behavioural cloning, which DAgger continues."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.files.typed_json import typed, typed_fields
from Common.runs.files import CONFIG_FILE
from Distillation.flags.groups import CloningFlags, StudentFlags
from Distillation.flags.in_force import PHASES
from Distillation.flags.resolve import Flags
from Distillation.phases import DATA
from Enviroment.dataset.count import parse_count
from Enviroment.tasks import script_of
from Evaluation.runs import check_configuration

if TYPE_CHECKING:
    from Models.teacher.description import TeacherDescription

METHOD = "BC_phase"
_KEPT_FLAGS = ("dataset", "loss_type")  # with the student's flags


@dataclass(frozen=True)
class ClonedRun:
    """The contents of its run folder."""

    folder: Path
    config: dict[str, Any]  # the run's flags, by group, as resolved
    teacher_sha256: str
    teacher_identity: str | None  # None: the run predates identities

    def flags(self, given: Flags) -> Flags:
        """Return the flags of a DAgger run that continues this run.

        The flags of student, dataset and loss are those of this run, all others are as `given`.
        """
        missing = {"cloning", "student"} - self.config.keys()
        if missing or not self.config["cloning"].keys() >= set(_KEPT_FLAGS):
            raise UserError(f"{self.folder / CONFIG_FILE} lacks the student's dataset or loss.")
        cloned = self.config["cloning"]
        cloning = replace(given.cloning, **{name: cloned[name] for name in _KEPT_FLAGS})
        student = typed(StudentFlags, self.config["student"], "student")
        flags = replace(given, student=student, cloning=cloning)
        flags.check_inherited_memory(f"--folder_Dagger {self.folder}")
        return flags

    def check_inherited_flags(self, values: Mapping[str, Any], given: Collection[str]) -> None:
        """Check that the given flags agree with those that this run sets.

        Args:
            values: values of all flags.
            given: names of the flags that the user gave.

        Raises:
            UserError: they differ; the message lists both values of each flag.
        """
        student = [field.name for field in dataclasses.fields(StudentFlags)]
        kept = {**self.config.get("cloning", {}), **self.config.get("student", {})}
        differ = [
            f"\n  --{name} {values[name]}, but the run has {kept[name]}"
            for name in (*_KEPT_FLAGS, *student)
            if name in given and name in kept and not _same(name, values[name], kept[name])
        ]
        if differ:
            raise UserError(
                f"--folder_Dagger {self.folder} sets student, dataset and loss. Leave these flags "
                f"out:{''.join(differ)}"
            )

    def check_teacher(self, given: TeacherDescription) -> None:
        """Check that the teacher is the cloned one.

        Raises:
            UserError: it is another one; the message lists both hashes.
        """
        cloned = (self.teacher_sha256, self.teacher_identity or given.identity)
        if cloned != (given.sha256, given.identity):
            raise UserError(
                f"The student in {self.folder} was cloned from another teacher (SHA-256, "
                "identity):\n"
                f"  cloned: {', '.join(cloned)}\n  given:  {given.sha256}, {given.identity}\n"
                "Give the cloned teacher with --teacher."
            )


def check_inherited_flags(
    folder: Path | None, task_name: str, values: Mapping[str, Any], given: Collection[str]
) -> None:
    """Check flags against the run in a folder (see `ClonedRun.check_inherited_flags`).

    Without a run in the folder, nothing is checked: reading it raises later.

    Raises:
        UserError: flags differ from those of the run, or the run cannot be read.
    """
    if folder is not None and (folder / CONFIG_FILE).is_file():
        read_cloned_run(folder, task_name).check_inherited_flags(values, given)


def read_cloned_run(folder: Path, task_name: str) -> ClonedRun:
    """Return the BC run in a folder, from its `config.json`.

    Raises:
        UserError: there is no run, it is damaged, or it is of another task or method.
    """
    path = folder / CONFIG_FILE
    script = script_of(task_name)
    remedy = f"Give the folder of a run of `python Distillation/{script} --{METHOD}`."
    try:
        data = read_json(path)
        config, sha256 = data["config"], data["teacher_sha256"]
        identity = data.get("teacher", {}).get("identity")
        task, method = config["task"], config["method"]
        check_configuration(path, data)
        typed(StudentFlags, config.get("student", {}), "student")
        cloning = typed(dict[str, Any], config.get("cloning", {}), "cloning")
        if "C_data" in config.get(PHASES, ()):  # it has collected the dataset itself
            cloning["dataset"] = str((folder / DATA).absolute())
            config = {**config, "cloning": cloning}
        typed_fields(CloningFlags, {name: cloning[name] for name in _KEPT_FLAGS if name in cloning})
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        raise UserError(f"--folder_Dagger {folder} is no run ({reason}). {remedy}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not describe a run ({error!r}). Restore it from a copy. {remedy}"
        ) from error
    if task != task_name or method != METHOD:
        raise UserError(
            f"--folder_Dagger {folder} holds a run of {task} by {method}, not of {task_name} by "
            f"{METHOD}. {remedy}"
        )
    return ClonedRun(folder, config, sha256, identity)


def _same(name: str, one: Any, other: Any) -> bool:
    """Return whether two values of a flag are equivalent (a dataset has several names)."""
    if name != "dataset" or "none" in (one, other):
        return one == other
    counts = parse_count(str(one)), parse_count(str(other))
    if counts == (None, None):
        return Path(one).absolute() == Path(other).absolute()
    return counts[0] == counts[1]
