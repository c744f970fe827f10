"""The commands of `python -m Enviroment.dataset`, given their parsed options."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np

from Common.commands.progress import progress_shown
from Common.errors import UserError
from Common.files.durable import writing
from Common.names import counted
from Enviroment.custom import named_task, with_package
from Enviroment.dataset.collect import repair
from Enviroment.dataset.format import (
    ACTION,
    FINAL_STATE,
    MANIFEST,
    Manifest,
    described_task,
    shard_name,
)
from Enviroment.dataset.lerobot.export import export_lerobot
from Enviroment.dataset.lerobot.folder import LeRobotFolder
from Enviroment.dataset.lerobot.importing import exported_task as lerobot_task
from Enviroment.dataset.lerobot.importing import import_lerobot
from Enviroment.dataset.minari_exchange import export_minari, exported_task, import_minari
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.verify import check_content, verify
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.task import Task

_SHEET = (8, 10)  # episodes x moments


def run_info(options: argparse.Namespace) -> None:
    """Print statistics and draw a contact sheet."""
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


def run_verify(options: argparse.Namespace) -> None:
    """Read every byte, and compare with the manifest."""
    check_content(options.dataset)
    print(f"{options.dataset}: every shard matches the manifest.")


def run_repair(options: argparse.Namespace) -> None:
    """Collect damaged or lost shards again."""
    problems = verify(options.dataset)
    manifest = Manifest.read(options.dataset)
    shards = [shard_name(index) for index in range(len(manifest.shards))]
    damaged = [index for index, name in enumerate(shards) if name in problems]
    if damaged:
        task = described_task(options.dataset / MANIFEST, manifest.recipe.task)
        task = with_package(task, options.env_id, options.wrapper)
        labeller = options.load_labeller(options.teacher, manifest, task)
        repair(options.dataset, labeller, damaged, task)
    for index in damaged:
        print(f"{options.dataset / shards[index]} is repaired.")
    surplus = [problems[name] for name in sorted(problems.keys() - set(shards))]
    if surplus:
        raise UserError("\n".join(surplus))
    if not problems:
        print(f"{options.dataset}: nothing to repair.")


def run_export(options: argparse.Namespace) -> None:
    """Write a Minari dataset."""
    dataset = TeacherDataset.open(options.dataset, env_id=options.env_id, wrapper=options.wrapper)
    path = export_minari(dataset, options.minari_id, options.root)
    call = f"load_dataset({options.minari_id!r})"
    if options.root is not None:
        call = f"MinariDataset({str(path)!r})"
    print(f"Written to {path}. minari.{call} loads it.")


def run_import(options: argparse.Namespace) -> None:
    """Read a Minari dataset."""
    exported = exported_task(options.minari_id, options.root)
    task = _imported_task(options, options.minari_id, exported)
    _print_imported(import_minari(options.minari_id, task, options.output, options.root))


def run_export_lerobot(options: argparse.Namespace) -> None:
    """Write a LeRobotDataset."""
    dataset = TeacherDataset.open(options.dataset, env_id=options.env_id, wrapper=options.wrapper)
    with progress_shown():
        path = export_lerobot(
            dataset,
            options.folder,
            video=options.video,
            fps=options.fps,
            instruction=options.instruction,
        )
    print(f"Written to {path}. LeRobotDataset('me/{path.name}', root={str(path)!r}) reads it.")


def run_import_lerobot(options: argparse.Namespace) -> None:
    """Read a LeRobotDataset."""
    source = LeRobotFolder(options.source)
    task = _imported_task(options, str(options.source), lerobot_task(source))
    camera, fps = options.camera, options.fps
    _print_imported(import_lerobot(source, task, options.output, camera=camera, fps=fps))


def _print_imported(folder: Path) -> None:
    print(f"Imported. --dataset {folder} trains on it.")


def _imported_task(options: argparse.Namespace, source: str, exported: Task | None) -> Task:
    """Return the task of an import: the exported one if `--task` names it or is missing."""
    if exported is not None and options.task in (None, exported.name, exported.env_id):
        task = exported
    elif options.task is None:
        raise UserError(
            f"{source} was not exported by this toolkit, so its task is unknown. Give `task`."
        )
    else:
        task = named_task(options.task)
    if options.frame_size is None:
        return task
    return dataclasses.replace(task, frame_size=_size(options.frame_size))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UserError(f"`frame_size` {text!r} is not a size. Give HEIGHTxWIDTH, such as 64x128.")
    return int(match[1]), int(match[2])


def statistics(dataset: TeacherDataset) -> dict[str, str]:
    """Return statistics of a dataset as text, by name."""
    manifest, recipe = dataset.manifest, dataset.manifest.recipe
    returns = dataset.returns()
    shards = [arrays for _, arrays in dataset.shards()]
    is_discrete = manifest.step_columns[ACTION].dtype == "int64"
    noise_unit = "of the steps" if is_discrete else "half ranges"
    seeds = f"{recipe.first_seed} to {recipe.first_seed + dataset.n_episodes - 1}"
    if recipe.first_seed < 0:  # imported
        seeds = "unknown"
    figures = {
        "task": f"{dataset.task.name}, {_sight(dataset.task)}",
        "teacher": ", ".join(f"{name} {value}" for name, value in recipe.teacher.items()),
        "behaviour noise": f"{recipe.behaviour_noise:g} {noise_unit}",
        "steps": f"{len(dataset)} in {counted(dataset.n_episodes, 'episode')}",
        "seeds": seeds,
        "episode length": _spread(dataset.lengths),
        "return": _spread(returns),
        "action": _describe_actions(np.concatenate([arrays[ACTION] for arrays in shards])),
        "columns": ", ".join(sorted(manifest.step_columns)),
        "size": f"{manifest.nbytes / 1e6:.1f} MB in {counted(len(manifest.shards), 'shard')}",
    }
    if dataset.task.distance is not None:
        distances = dataset.task.distance(np.concatenate([a[FINAL_STATE] for a in shards]))
        figures[dataset.task.distance.name] = _spread(distances)
    return figures


def _sight(task: Task) -> str:
    if not task.has_frames:
        return "the state only"
    (h, w), depth = task.frame_size, task.depth
    titles = ", ".join(view.title for view in task.camera_set.views() if not view.is_depth)
    cameras = f", cameras {titles}" if len(task.cameras) > 1 else ""
    metres = "" if depth is None else f", depth {depth.near:g} to {depth.far:g} m"
    looks = "" if task.looks is None else ", random looks"
    return f"{h}x{w}, {'gray' if task.grayscale else 'colour'}{cameras}{metres}{looks}"


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
    pictures = newest_pictures(dataset.read(indices, [FRAME])[FRAME], dataset.task)
    _, h, w, _ = pictures.shape  # (rows * columns, H, W, 3)
    tiles = pictures.reshape(n_rows, n_columns, h, w, 3).transpose(0, 2, 1, 3, 4)
    sheet = tiles.reshape(n_rows * h, n_columns * w, 3)[..., ::-1]  # OpenCV's is BGR
    encoded, picture = cv2.imencode(".png", np.ascontiguousarray(sheet))
    assert encoded
    with writing(path, "Name --output."):
        path.write_bytes(picture.tobytes())


def _describe_actions(actions: np.ndarray) -> str:
    """Return mean and standard deviation of continuous actions, or the share of each index."""
    if actions.dtype.kind == "i":
        columns = actions.reshape(len(actions), -1).T  # (dimensions, steps)
        shares = [_row(np.bincount(column) / len(column)) for column in columns]
        return f"share of each from 0 on {', '.join(shares)}"
    mean, std = actions.mean(axis=0, dtype=np.float64), actions.std(axis=0, dtype=np.float64)
    return f"mean {_row(mean)}, std {_row(std)}"


def _spread(values: np.ndarray) -> str:
    return (
        f"mean {values.mean():.4g}, std {values.std():.4g}, "
        f"min {values.min():.4g}, max {values.max():.4g}"
    )


def _row(values: np.ndarray) -> str:
    return "[" + " ".join(f"{value:.3g}" for value in values.ravel()) + "]"
