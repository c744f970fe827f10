"""A finished run of behavioural cloning, as DAgger goes on from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.files.typed_json import typed, typed_fields
from Common.runs import run_folder
from Common.runs.tracking import CONFIG_FILE
from Distillation.flags.groups import CloningFlags, StudentFlags
from Distillation.flags.resolve import Flags
from Enviroment.dataset.reader import parse_count
from Enviroment.tasks import script_of
from Evaluation.runs import check_configuration
from Models.student.bundle import load_student
from Models.student.policy import StudentPolicy
from Models.teacher.description import TeacherDescription

METHOD = "BC_phase"
_LEARNED_FROM = ("dataset", "loss_type")  # what DAgger keeps beside the student


@dataclass(frozen=True)
class ClonedRun:
    """What its run folder says."""

    folder: Path
    config: dict[str, Any]  # the run's flags, by group, as resolved
    teacher_sha256: str
    teacher_identity: str | None  # None: the run is from before there was one

    def student(self, device: torch.device | str) -> StudentPolicy:
        """The run's best student."""
        return load_student(self.folder / run_folder.STUDENT, device)

    def flags(self, given: Flags) -> Flags:
        """The flags of a DAgger run that goes on from this one: the student, its dataset and how
        it learns are this run's; what DAgger does and where it runs are as `given`.
        """
        missing = {"cloning", "student"} - self.config.keys()
        if missing or not self.config["cloning"].keys() >= set(_LEARNED_FROM):
            raise UserError(f"{self.folder / CONFIG_FILE} lacks what the student learned from.")
        cloned = self.config["cloning"]
        cloning = replace(given.cloning, **{name: cloned[name] for name in _LEARNED_FROM})
        student = typed(StudentFlags, self.config["student"], "student")
        return replace(given, student=student, cloning=cloning)

    def check_kept(self, values: Mapping[str, Any], given: Collection[str]) -> None:
        """Refuses flags that were given and are not what this run keeps, which takes their place.

        Args:
            values: of all flags.
            given: names of those that the user gave.

        Raises:
            UserError: prints both values of each.
        """
        student = [field.name for field in dataclasses.fields(StudentFlags)]
        kept = {**self.config.get("cloning", {}), **self.config.get("student", {})}
        differ = [
            f"\n  --{name} {values[name]}, and it has {kept[name]}"
            for name in (*_LEARNED_FROM, *student)
            if name in given and name in kept and not _same(name, values[name], kept[name])
        ]
        if differ:
            raise UserError(
                f"--folder_Dagger {self.folder} keeps its student, dataset and loss, so leave "
                f"these out:{''.join(differ)}"
            )

    def check_teacher(self, given: TeacherDescription) -> None:
        """Refuses a teacher that is not the one that was cloned.

        Raises:
            UserError: prints both hashes.
        """
        cloned = (self.teacher_sha256, self.teacher_identity or given.identity)
        if cloned != (given.sha256, given.identity):
            raise UserError(
                f"The student in {self.folder} was cloned from another teacher (weights, all):\n"
                f"  cloned: {', '.join(cloned)}\n  given:  {given.sha256}, {given.identity}\n"
                "Give that one by --teacher."
            )


def check_kept(
    folder: Path | None, task_name: str, values: Mapping[str, Any], given: Collection[str]
) -> None:
    """As `ClonedRun.check_kept`, of the run in a folder. Where none is, who wants it says so.

    Raises:
        UserError: flags are not what the run keeps, or it cannot be read.
    """
    if folder is not None and (folder / CONFIG_FILE).is_file():
        read_cloned_run(folder, task_name).check_kept(values, given)


def read_cloned_run(folder: Path, task_name: str) -> ClonedRun:
    """The BC run in a folder, from its `config.json`; its name tells nothing.

    Raises:
        UserError: there is none, it is garbled, or it is a run of another task or method.
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
        typed_fields(
            CloningFlags, {name: cloning[name] for name in _LEARNED_FROM if name in cloning}
        )
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        raise UserError(f"--folder_Dagger {folder} is no run ({reason}). {remedy}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not describe a run ({error!r}). Restore it from a copy. {remedy}"
        ) from error
    if task != task_name or method != METHOD:
        raise UserError(
            f"--folder_Dagger {folder} holds a run of {task} by {method}, not one of {task_name} "
            f"by {METHOD}. {remedy}"
        )
    return ClonedRun(folder, config, sha256, identity)


def _same(name: str, one: Any, other: Any) -> bool:
    """Whether two values of a flag mean the same: a dataset has several names."""
    if name != "dataset" or "none" in (one, other):
        return one == other
    counts = parse_count(str(one)), parse_count(str(other))
    if counts == (None, None):
        return Path(one).absolute() == Path(other).absolute()
    return counts[0] == counts[1]
