"""Manage teacher datasets: `python -m Enviroment.dataset {info,verify,repair,export,import}`."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Common.files.durable import writing
from Enviroment.custom import named_task, with_package
from Enviroment.dataset.collect import check_content, repair, verify
from Enviroment.dataset.format import (
    ACTION,
    FINAL_STATE,
    MANIFEST,
    Manifest,
    described_task,
    shard_name,
)
from Enviroment.dataset.minari_exchange import export_minari, exported_task, import_minari
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.recording import Labeller
from Enviroment.observations import FRAME, frame_channels
from Enviroment.task import Task

_SHEET = (8, 10)  # episodes x moments


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input, such as a damaged dataset, exits with code 2."""
    with exit_with_message():
        options = _parser().parse_args(arguments)
        flags = {**{name: name for name in vars(options)}, "folder": "output"}
        with fields_as_flags(flags):
            options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m Enviroment.dataset", description="Manage teacher datasets."
    )
    commands = parser.add_subparsers(required=True)

    info = commands.add_parser("info", help="print statistics and draw a contact sheet")
    info.add_argument(
        "--output", type=Path, help="file of the sheet; default: in the dataset's folder"
    )
    info.set_defaults(run=_info)

    check = commands.add_parser("verify", help="read every byte, and list damaged shards")
    check.set_defaults(run=_verify)

    fix = commands.add_parser("repair", help="collect damaged or lost shards again")
    fix.add_argument("--teacher", type=Path, required=True, help="bundle of the same teacher")
    fix.set_defaults(run=_repair)

    for command in (info, check, fix):
        command.add_argument("dataset", type=Path, help="its folder")

    out = commands.add_parser("export", help="write a lossless Minari dataset")
    out.add_argument("dataset", type=Path, help="its folder")
    out.add_argument("minari_id", help="name of the new dataset, such as Pusher/teacher-v0")
    out.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    out.set_defaults(run=_export)
    for command in (fix, out):
        command.add_argument(
            "--env_id", help="package:Id-v0 of the dataset's task; imports the package"
        )
        command.add_argument(
            "--wrapper", help="package:Class of its wrappers; imports the packages"
        )

    into = commands.add_parser("import", help="read a Minari dataset of `frame` and `state`")
    into.add_argument("minari_id", help="name of an installed dataset, or its folder")
    into.add_argument("--task", help="name, or Gymnasium id; default: that of the export")
    into.add_argument("--frame_size", help="HEIGHTxWIDTH; default: the task's")
    into.add_argument("--output", type=Path, required=True, help="folder of the new dataset")
    into.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    into.set_defaults(run=_import)
    return parser


def _info(options: argparse.Namespace) -> None:
    check_content(options.dataset)  # or figures of damaged shards would be printed
    dataset = TeacherDataset.open(options.dataset)
    for name, value in statistics(dataset).items():
        print(f"{name:20} {value}")
    if not dataset.task.has_frames:
        print(f"{'contact sheet':20} none: the task has no frames")
        return
    path = options.output or options.dataset / "contact_sheet.png"
    write_contact_sheet(dataset, path)
    print(f"{'contact sheet':20} {path}")


def _verify(options: argparse.Namespace) -> None:
    check_content(options.dataset)
    print(f"{options.dataset}: every shard matches the manifest.")


def _repair(options: argparse.Namespace) -> None:
    problems = verify(options.dataset)
    manifest = Manifest.read(options.dataset)
    shards = [shard_name(index) for index in range(len(manifest.shards))]
    damaged = [index for index, name in enumerate(shards) if name in problems]
    if damaged:
        task = described_task(options.dataset / MANIFEST, manifest.recipe.task)
        task = with_package(task, options.env_id, options.wrapper)
        labeller = _load_labeller(options.teacher, manifest, task)
        repair(options.dataset, labeller, damaged, task)
    for index in damaged:
        print(f"{options.dataset / shards[index]} is repaired.")
    surplus = [problems[name] for name in sorted(problems.keys() - set(shards))]
    if surplus:
        raise UserError("\n".join(surplus))
    if not problems:
        print(f"{options.dataset}: nothing to repair.")


def _load_labeller(folder: Path, manifest: Manifest, task: Task) -> Labeller:
    """Return the teacher of a bundle with the labelling settings of the manifest."""
    # The only import of Models in this package: to collect a shard again takes a teacher, but to
    # read datasets does not.
    from Models.teacher.adoption import adopt
    from Models.teacher.corruption import corrupt
    from Models.teacher.labels import TeacherLabeller
    from Models.teacher.policy import Teacher

    asked = manifest.recipe.teacher
    try:
        teacher = adopt(Teacher.load(folder, min_std=float(asked["min_std"])), task)
        sigma = float(asked.get("corruption_sigma", 0.0))
        # A bundle of the corrupted teacher itself needs no more noise.
        if sigma and not teacher.description.corruption_sigma:
            teacher = corrupt(teacher, sigma, int(asked["corruption_seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"The manifest lacks the settings of its teacher ({error!r}), so no shard can be "
            "collected again. Restore it from a copy, or collect the dataset again."
        ) from error
    return TeacherLabeller(teacher)


def _export(options: argparse.Namespace) -> None:
    dataset = TeacherDataset.open(options.dataset, env_id=options.env_id, wrapper=options.wrapper)
    path = export_minari(dataset, options.minari_id, options.root)
    call = f"load_dataset({options.minari_id!r})"
    if options.root is not None:
        call = f"MinariDataset({str(path)!r})"
    print(f"Written to {path}. minari.{call} loads it.")


def _import(options: argparse.Namespace) -> None:
    task = _imported_task(options)
    if options.frame_size is not None:
        task = dataclasses.replace(task, frame_size=_size(options.frame_size))
    folder = import_minari(options.minari_id, task, options.output, options.root)
    print(f"Imported. --dataset {folder} trains on it.")


def _imported_task(options: argparse.Namespace) -> Task:
    """Return the task of an import: the exported one if `--task` names it or is missing."""
    exported = exported_task(options.minari_id, options.root)
    if exported is not None and options.task in (None, exported.name, exported.env_id):
        return exported
    if options.task is None:
        raise UserError(
            f"{options.minari_id} was not exported by this toolkit, so its task is unknown. Give "
            "--task."
        )
    return named_task(options.task)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UserError(f"--frame_size {text!r} is not a size. Give HEIGHTxWIDTH, such as 64x128.")
    return int(match[1]), int(match[2])


def statistics(dataset: TeacherDataset) -> dict[str, str]:
    """Return statistics of a dataset as text, by name."""
    manifest, recipe = dataset.manifest, dataset.manifest.recipe
    returns = dataset.returns()
    summary = _Shares() if manifest.step_columns[ACTION].dtype == "int64" else _Moments()
    finals: list[np.ndarray] = []
    for _, arrays in dataset.shards():
        summary.add(arrays[ACTION])
        finals += [arrays[FINAL_STATE]] if FINAL_STATE in arrays else []
    noise_unit = "of the steps" if isinstance(summary, _Shares) else "half ranges"
    seeds = f"{recipe.first_seed} to {recipe.first_seed + dataset.n_episodes - 1}"
    if recipe.first_seed < 0:  # imported
        seeds = "unknown"
    figures = {
        "task": f"{dataset.task.name}, {_sight(dataset.task)}",
        "teacher": ", ".join(f"{name} {value}" for name, value in recipe.teacher.items()),
        "behaviour noise": f"{recipe.behaviour_noise:g} {noise_unit}",
        "steps": f"{len(dataset)} in {dataset.n_episodes} episodes",
        "seeds": seeds,
        "episode length": _spread(dataset.lengths),
        "return": _spread(returns),
        "action": str(summary),
        "columns": ", ".join(sorted(manifest.step_columns)),
        "size": f"{manifest.nbytes / 1e6:.1f} MB in {len(manifest.shards)} shards",
    }
    if dataset.task.distance is not None:
        distances = dataset.task.distance(np.concatenate(finals))
        figures[dataset.task.distance.name] = _spread(distances)
    return figures


def _sight(task: Task) -> str:
    if not task.has_frames:
        return "the state only"
    h, w = task.frame_size
    return f"{h}x{w}, {'gray' if task.grayscale else 'colour'}"


def write_contact_sheet(dataset: TeacherDataset, path: Path | str) -> None:
    """Draw frames of evenly spaced episodes, one episode per row, from start to end.

    Raises:
        UserError: the picture cannot be written.
    """
    path = Path(path)
    n_rows, n_columns = min(_SHEET[0], dataset.n_episodes), _SHEET[1]
    episodes = np.linspace(0, dataset.n_episodes - 1, n_rows).round().astype(np.int64)
    moments = np.linspace(0, 1, n_columns)
    steps = np.round((dataset.lengths[episodes, None] - 1) * moments).astype(np.int64)
    indices = (dataset.starts[episodes, None] + steps).ravel()
    channels = frame_channels(dataset.task)
    frames = dataset.read(indices, [FRAME])[FRAME][:, -channels:]  # (N, channels, H, W), newest
    h, w = dataset.task.frame_size
    tiles = frames.reshape(n_rows, n_columns, channels, h, w).transpose(0, 3, 1, 4, 2)
    sheet = tiles.reshape(n_rows * h, n_columns * w, channels)[..., ::-1]  # OpenCV's is BGR
    encoded, picture = cv2.imencode(".png", np.ascontiguousarray(sheet))
    assert encoded
    with writing(path, "Name --output."):
        path.write_bytes(picture.tobytes())


class _Moments:
    """Mean and standard deviation of rows that are added in parts."""

    def __init__(self) -> None:
        self._n = 0
        self._sum: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0

    def add(self, rows: np.ndarray) -> None:
        self._n += len(rows)
        self._sum = self._sum + rows.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + np.square(rows, dtype=np.float64).sum(axis=0)

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self._sum) / self._n

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(np.maximum(np.asarray(self._squares) / self._n - self.mean**2, 0))

    def __str__(self) -> str:
        return f"mean {_row(self.mean)}, std {_row(self.std)}"


class _Shares:
    """Share of each discrete action, in rows that are added in parts."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, rows: np.ndarray) -> None:
        counts = np.bincount(rows, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def __str__(self) -> str:
        return f"share of each from 0 on {_row(self._counts / self._counts.sum())}"


def _spread(values: np.ndarray) -> str:
    return (
        f"mean {values.mean():.4g}, std {values.std():.4g}, "
        f"min {values.min():.4g}, max {values.max():.4g}"
    )


def _row(values: np.ndarray) -> str:
    return "[" + " ".join(f"{value:.3g}" for value in values.ravel()) + "]"


if __name__ == "__main__":
    main()
