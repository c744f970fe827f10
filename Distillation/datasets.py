"""Teacher datasets, as the scripts collect and find them."""

from __future__ import annotations

import sys
from pathlib import Path

from Distillation.flags import Flags
from Enviroment.collect import collect
from Enviroment.dataset import TeacherDataset, dataset_folder, parse_count, resolve_dataset
from Enviroment.errors import UserError
from Enviroment.tasks import Task
from Evaluation import run_folder
from Models.labels import TeacherLabeller
from Models.teacher import Teacher


def collect_dataset(task: Task, flags: Flags, teacher: Teacher) -> Path:
    """`--C_data`: collects, or goes on; returns the dataset's folder."""
    num_data = flags.cloning.num_data
    if flags.run.overwrite:
        raise UserError("--C_data never deletes a dataset. Delete its folder, or use --resume.")
    folder = dataset_folder(task, num_data)
    if flags.run.output is not None:
        folder = run_folder.locate(flags.run.output, Path())
    return _collect(task, flags, teacher, folder, num_data, resume=flags.run.resume)


def find_dataset(task: Task, flags: Flags, teacher: Teacher) -> TeacherDataset:
    """The dataset that `--dataset` names; with `--collect_missing` it is collected first.

    Raises:
        UserError: it is not there, or is of another task, frame size or teacher.
    """
    name = flags.cloning.dataset
    try:
        folder = resolve_dataset(task, name)
    except UserError:
        num_data = parse_count(name)
        if not flags.cloning.collect_missing or num_data is None:
            raise
        folder = dataset_folder(task, num_data)
        _collect(task, flags, teacher, folder, num_data, resume=False)
    dataset = TeacherDataset.open(folder, task)
    theirs = dataset.manifest.recipe.teacher.get("sha256", "")
    if theirs and theirs != teacher.description.sha256:
        raise UserError(
            f"The dataset {folder} is of another teacher ({theirs[:12]}) than the one given "
            f"({teacher.description.sha256[:12]}). Name its teacher by --teacher."
        )
    return dataset


def _collect(
    task: Task, flags: Flags, teacher: Teacher, folder: Path, num_data: int, *, resume: bool
) -> Path:
    def progress(done: int, total: int) -> None:
        print(f"{done:,} of {total:,} env steps collected", file=sys.stderr, flush=True)

    collect(
        task,
        # Datasets are labelled on the CPU, whatever the device that learns from them.
        TeacherLabeller(teacher.to("cpu")),
        folder,
        num_data,
        behaviour_noise=flags.cloning.behaviour_noise,
        resume=resume,
        n_workers=flags.run.threads,
        progress=progress,
    )
    print(f"dataset  {folder}")
    return folder
