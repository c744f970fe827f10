"""Collect and find teacher datasets."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

from Common.errors import UserError
from Common.runs import run_folder
from Distillation.flags.resolve import Flags
from Distillation.phases import DATA
from Enviroment.dataset.behaviour_noise import default_noise
from Enviroment.dataset.collect import collect, is_complete
from Enviroment.dataset.count import parse_count
from Enviroment.dataset.format import IDENTITY
from Enviroment.dataset.reader import TeacherDataset, dataset_folder, resolve_dataset
from Enviroment.dataset.verify import check_content
from Enviroment.tasks import Task
from Models.teacher.labels import TeacherLabeller, margin_of
from Models.teacher.policy import Teacher


def collect_dataset(task: Task, flags: Flags, teacher: Teacher) -> Path:
    """Collect or resume a dataset (`--C_data`) and return its folder."""
    num_data = flags.cloning.num_data
    folder = dataset_folder(task, num_data)
    if flags.run.output is not None:
        folder = run_folder.locate(flags.run.output, Path())
    return _collect(task, flags, teacher, folder, num_data, resume=flags.run.resume)


def behaviour_noise(flags: Flags, teacher: Teacher) -> float:
    """Return the noise of a collection: that of the flag, or the default for the actions."""
    given = flags.cloning.behaviour_noise
    return default_noise(teacher.description.action_space) if given is None else given


def find_dataset(task: Task, flags: Flags, teacher: Teacher, run: Path) -> TeacherDataset:
    """Return the dataset of `--dataset`, or that of `--C_data` in the run folder.

    The latter, and with `--collect_missing` the former, is collected first if it is missing or
    incomplete.

    Args:
        run: the run folder.

    Raises:
        UserError: the dataset is missing, damaged, or of another task, frame size or teacher.
    """
    folder = _collected(task, flags, teacher, run) or _named(task, flags, teacher)
    dataset = TeacherDataset.open(folder, task)
    check_content(folder)  # a few tenths of a second for 100k steps
    check_labels(dataset, teacher)
    return dataset


def _collected(task: Task, flags: Flags, teacher: Teacher, run: Path) -> Path | None:
    """Return the dataset of the phase `--C_data`, complete; None without this phase."""
    if not flags.method.has_phase("C_data"):
        return None
    folder = run / DATA
    try:
        return _collect(task, flags, teacher, folder, flags.cloning.num_data, resume=True)
    except UserError as error:
        raise UserError(
            f"{error} This run's dataset is kept in {folder}, also with --overwrite: delete it, or "
            "name another --output."
        ) from error


def _named(task: Task, flags: Flags, teacher: Teacher) -> Path:
    """Return the dataset of `--dataset`, with `--collect_missing` complete."""
    name = flags.cloning.dataset
    num_data = parse_count(name)
    if flags.cloning.collect_missing and num_data is not None:
        folder = dataset_folder(task, num_data)
        if not is_complete(folder):
            _collect(task, flags, teacher, folder, num_data, resume=True)
    try:
        return resolve_dataset(task, name)
    except UserError as error:
        if num_data is None:  # only datasets given by their size can be collected
            raise
        raise UserError(f"{error} Or add --collect_missing.") from error


def check_labels(dataset: TeacherDataset, teacher: Teacher) -> None:
    """Raise UserError unless the labels of the dataset are those of this teacher."""
    asked = dataset.manifest.recipe.teacher  # empty for imported datasets
    theirs, ours = asked.get("sha256"), teacher.description.sha256
    acts_alike = asked.get(IDENTITY) in (None, teacher.description.identity)
    if theirs not in (None, ours) or not acts_alike:
        sigma = asked.get("corruption_sigma")
        noise = f", and --corrupt_teacher {sigma}" if sigma else ""
        alike = ", of the same weights in another network" if theirs == ours else ""
        raise UserError(
            f"The dataset {dataset.folder} is of another teacher ({str(theirs)[:12]}) than the one "
            f"given ({ours[:12]}){alike}. Name its teacher by --teacher{noise}."
        )
    floor = asked.get("min_std")
    if floor not in (None, teacher.min_std):
        raise UserError(
            f"The dataset {dataset.folder} was labelled with --min_teacher_std {floor}, not "
            f"{teacher.min_std}. Give that one, or collect another dataset."
        )
    if floor is not None and asked.get("mean_margin") != margin_of(teacher):
        without = asked.get("mean_margin") is None
        raise UserError(
            f"The dataset {dataset.folder} was labelled {'without' if without else 'with'} "
            f"--clip_teacher_mean. {'Add' if without else 'Leave out'} --no_clip_teacher_mean, or "
            "collect another dataset."
        )


def _collect(
    task: Task, flags: Flags, teacher: Teacher, folder: Path, num_data: int, *, resume: bool
) -> Path:
    def progress(done: int, total: int) -> None:
        print(f"{done:,} of {total:,} env steps collected", file=sys.stderr, flush=True)

    collect(
        task,
        # Datasets are always labelled on the CPU, by a copy, because `to` moves the teacher in
        # place.
        TeacherLabeller(copy.deepcopy(teacher).to("cpu")),
        folder,
        num_data,
        behaviour_noise=behaviour_noise(flags, teacher),
        resume=resume,
        workers=flags.run.workers,
        n_workers=flags.run.threads,
        progress=progress,
    )
    print(f"dataset  {folder}")
    return folder
