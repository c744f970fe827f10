"""Save what can be a teacher in Python as the bundle that a run names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm

from Common.errors import UserError
from Common.files.bounded_read import file_sha256
from Common.places import RESULTS
from Enviroment.task import Task
from Models.sb3.zip_file import saved_agent
from Models.teacher.bundle import save_teacher
from Models.teacher.conversion import convert
from Models.teacher.flags import Convert
from Models.teacher.policy import Teacher

_DIGITS = 12  # of a hash in a folder's name


def teacher_bundle(
    teacher: BaseAlgorithm | Teacher | Path | str,
    task: Task,
    vecnormalize: Path | str | None,
    output: Path | str | None,
) -> Path:
    """Return the bundle of a teacher. Write it if it is a model or SB3's zip file.

    The folder is named after the content, so that the same teacher has the same bundle and a run
    can be resumed.

    Args:
        vecnormalize: statistics for a zip file.
        output: run folder; bundles are written to `teachers` beside it, or without it to
            `Results/<task>/Teacher`.

    Raises:
        UserError: the agent cannot be a teacher, or statistics are given for something else.
    """
    parent = RESULTS / task.name / "Teacher"
    if output is not None:
        parent = Path(output).absolute().parent / "teachers"
    if isinstance(teacher, str | Path) and (path := saved_agent(Path(teacher))).suffix == ".zip":
        statistics = None if vecnormalize is None else Path(vecnormalize)
        return _of_zip(path, task, statistics, parent)
    if vecnormalize is not None:
        raise UserError("`vecnormalize` belongs to a zip file: a model or bundle has its own.")
    if isinstance(teacher, str | Path):
        return Path(teacher)
    if isinstance(teacher, BaseAlgorithm):
        teacher = Teacher.from_sb3(teacher, task=task.name)
    if not isinstance(teacher, Teacher):
        raise UserError(f"`teacher` is a {type(teacher).__name__}, not an SB3 model or a path.")
    described = teacher.description
    folder = parent / _name(described.algo, described.identity)
    if not folder.exists():
        tensors = {name: tensor.cpu() for name, tensor in teacher.state_dict().items()}
        save_teacher(folder, tensors, described, {})
    return folder


def _of_zip(path: Path, task: Task, vecnormalize: Path | None, parent: Path) -> Path:
    files = [file for file in (path, vecnormalize) if file is not None]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise UserError(f"There is no file {' and no '.join(missing)}.")
    digest = hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()
    folder = parent / _name(path.stem, digest)
    if not folder.exists():
        flags = Convert(str(path), task.name, folder, vecnormalize=vecnormalize)
        convert(flags, "vision_distillation.distil", task)
    return folder


def _name(agent: str, digest: str) -> str:
    return f"{agent}_{digest[:_DIGITS]}"
