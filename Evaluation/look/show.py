"""Draw a grid of frames with random looks."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.custom import named_task, with_package
from Enviroment.dataset.format import MANIFEST, Manifest, described_task
from Enviroment.drawing.looks import LookRanges, parse_look_ranges
from Enviroment.make import make_env
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.task import Task
from Evaluation.evaluate.subject import open_subject
from Evaluation.tool import print_note

if TYPE_CHECKING:
    from Evaluation.look.__main__ import LookFlags

_COLUMNS, _ROWS = 8, 3
_HEIGHT, _GAP = 144, 4  # pixels, of a frame in the grid and between two


def show_looks(flags: LookFlags) -> Path:
    """Write the grid, print the ranges, and return the path.

    Raises:
        UserError: there is no such source, its frames are not drawn by a camera, or the file cannot
            be written.
    """
    task, own = _task_and_ranges(flags)
    if flags.frame_size is not None:
        task = dataclasses.replace(task, frame_size=_parse_size(flags.frame_size))
    if flags.look_ranges is not None:
        ranges = parse_look_ranges(flags.look_ranges)
    else:
        ranges = own or LookRanges()
        if own is None and not _is_name(flags.source):
            print_note(f"{flags.source} has no random looks: these are the default ranges.")
    task = dataclasses.replace(task, looks=ranges)
    write_picture(flags.output, looks_grid(task))
    print(describe_grid(task, flags.output))
    return flags.output


def looks_grid(task: Task) -> np.ndarray:
    """Return the first frames of episodes of a task with random looks, uint8 (H, W, 3).

    The first two are of the same episode, without and with them.
    """
    # From the first training seed of run index 0 on: what a run trains on.
    first = seeds.training(0).start
    frames = _first_frames(task.plain, 1, first)
    frames += _first_frames(task, _COLUMNS * _ROWS - 1, first)
    cells = [_bordered(frame) for frame in frames]
    rows = [np.hstack(cells[i : i + _COLUMNS]) for i in range(0, len(cells), _COLUMNS)]
    return np.vstack(rows)


def describe_grid(task: Task, path: Path) -> str:
    """Return a sentence on the grid of a task."""
    assert isinstance(task.looks, LookRanges)
    ranges = ", ".join(f"{name} {value:g}" for name, value in task.looks.as_json().items())
    return (
        f"{path}: first frames of {task.name}, the first one plain, then with random looks, within "
        f"{ranges}."
    )


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3), as PNG.

    Raises:
        UserError: the file cannot be written.
    """
    is_png = path.suffix.lower() == ".png" and path.parent.is_dir()
    if not is_png or not cv2.imwrite(str(path), picture[..., ::-1]):
        raise UserError(f"{path} cannot be written. Name a .png file in an existing folder.")


def _task_and_ranges(flags: LookFlags) -> tuple[Task, LookRanges | None]:
    """Return the task of a source, and the ranges of its random looks, if any."""
    folder = Path(flags.source)
    if _is_name(flags.source):
        return with_package(named_task(flags.source), flags.env_id, flags.wrapper), None
    if (folder / MANIFEST).is_file():
        path = folder / MANIFEST
        task = described_task(path, Manifest.read(folder).recipe.task)
        looks = task.looks if isinstance(task.looks, LookRanges) else None
        return with_package(task, flags.env_id, flags.wrapper), looks
    subject = open_subject(folder, flags.env_id, flags.wrapper, flags.encoder)
    subject.check_frames()
    trained: Any = subject.description.get("looks")  # was checked on loading
    return subject.task, None if trained is None else LookRanges.from_json(trained)


def _is_name(source: str) -> bool:
    return not Path(source).is_dir()


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UserError(f"`frame_size` {text!r}: give HEIGHTxWIDTH in pixels, such as 64x128.")
    return int(match[1]), int(match[2])


def _first_frames(task: Task, n: int, first_seed: int) -> list[np.ndarray]:
    """Return the first frames of `n` episodes, each (h, views * w, 3)."""
    with contextlib.closing(make_env(task, 1, first_seed, workers="serial")) as env:
        return [newest_pictures(env.reset()[FRAME][0], task) for _ in range(n)]


def _bordered(frame: np.ndarray) -> np.ndarray:
    """Return an enlarged frame with a white border."""
    width = round(frame.shape[1] * _HEIGHT / frame.shape[0])
    large = cv2.resize(frame, (width, _HEIGHT), interpolation=cv2.INTER_NEAREST)
    return cv2.copyMakeBorder(large, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
