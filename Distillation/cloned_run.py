"""A finished run of behavioural cloning, as DAgger goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from Distillation.flags import Flags, StudentFlags
from Enviroment.errors import UserError
from Enviroment.tasks import script_of
from Evaluation import run_folder
from Evaluation.tracking import CONFIG_FILE
from Models.student import StudentPolicy
from Models.student_bundle import load_student

METHOD = "BC_phase"


@dataclass(frozen=True)
class ClonedRun:
    """What its run folder says."""

    folder: Path
    config: dict[str, Any]  # the run's flags, by group, as resolved
    teacher_sha256: str

    def student(self, device: torch.device | str) -> StudentPolicy:
        """The run's best student."""
        return load_student(self.folder / run_folder.STUDENT, device)

    def flags(self, given: Flags) -> Flags:
        """The flags of a DAgger run that goes on from this one: the student, its dataset and how
        it learns are this run's; what DAgger does and where it runs are as `given`.
        """
        cloned = self.config["cloning"]
        cloning = replace(given.cloning, dataset=cloned["dataset"], loss_type=cloned["loss_type"])
        student = StudentFlags(**self.config["student"])
        return replace(given, student=student, cloning=cloning)

    def check_teacher(self, sha256: str) -> None:
        """Refuses a teacher that is not the one that was cloned.

        Raises:
            UserError: prints both hashes.
        """
        if sha256 != self.teacher_sha256:
            raise UserError(
                f"The student in {self.folder} was cloned from another teacher:\n"
                f"  cloned: {self.teacher_sha256}\n  given:  {sha256}\nGive that one by --teacher."
            )


def read_cloned_run(folder: Path, task_name: str) -> ClonedRun:
    """The BC run in a folder, from its `config.json`; its name tells nothing.

    Raises:
        UserError: there is none, it is garbled, or it is a run of another task or method.
    """
    path = folder / CONFIG_FILE
    script = script_of(task_name)
    remedy = f"Give the folder of a run of `python Distillation/{script} --{METHOD}`."
    try:
        data = json.loads(path.read_bytes())
        config, sha256 = data["config"], data["teacher_sha256"]
        task, method = config["task"], config["method"]
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        raise UserError(f"--folder_Dagger {folder} is no run ({reason}). {remedy}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} does not describe a run ({error!r}). Restore it from a copy. {remedy}"
        ) from error
    if task != task_name or method != METHOD:
        raise UserError(
            f"--folder_Dagger {folder} holds a run of {task} by {method}, not one of {task_name} "
            f"by {METHOD}. {remedy}"
        )
    return ClonedRun(folder, config, sha256)
