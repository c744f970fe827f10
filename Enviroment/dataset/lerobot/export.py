"""Export teacher datasets as LeRobotDataset v3.0, which LeRobot trains on and the Hub shows.

`action` is the teacher's label. Pictures have three channels, as LeRobot's policies expect; those
of gray frames are equal. With PNG, importing restores the dataset bit-for-bit: what LeRobot has no
place for is kept in columns of its own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from Common.commands.progress import tracked
from Common.errors import UserError
from Common.files.durable import publishing, writing
from Enviroment.dataset import format as ours
from Enviroment.dataset.lerobot import layout
from Enviroment.dataset.lerobot.layout import Feature, arrow, file_place
from Enviroment.dataset.lerobot.pictures import (
    CODEC,
    PIXELS,
    check_video_size,
    to_png,
    write_video,
)
from Enviroment.dataset.lerobot.stats import Stats, aggregate, picture_stats, vector_stats
from Enviroment.dataset.lerobot.tables import step_table, write_episodes_table, write_tasks
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import FRAME, STATE
from Enviroment.simulation.step_rate import steps_per_second
from Enviroment.task import Task

# Columns of a dataset that have another name or place in LeRobot's.
_PLACED = (FRAME, STATE, ours.ACTION, ours.REWARD, ours.TERMINATED, ours.TRUNCATED)
_RESERVED = ("/", "observation", "action.", "next.")


@dataclass(frozen=True)
class Views:
    """The pictures of a frame by the name of their camera: channels of `(channels, H, W)`."""

    channels: Mapping[str, slice]

    @classmethod
    def of(cls, task: Task) -> Views:
        """Return the views of a task, with names that are good for columns and folders."""
        if not task.has_frames:
            return cls({})
        views = task.camera_set.views()
        return cls({_slug(view.title): view.channels for view in views})

    def split(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Return frames `(T, channels, H, W)` as pictures `(T, H, W, 3)` by camera."""
        pictures = {}
        for name, channels in self.channels.items():
            part = np.moveaxis(frames[:, channels], 1, -1)  # (T, H, W, 1 or 3)
            pictures[name] = np.broadcast_to(part, (*part.shape[:-1], 3))
        return pictures


def _slug(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title)


@dataclass
class _Written:
    """What is known of the dataset so far."""

    episodes: list[dict[str, Any]] = field(default_factory=list)  # rows of meta/episodes
    stats: dict[str, list[Stats]] = field(default_factory=dict)  # of each episode, by feature
    steps: int = 0


def export_lerobot(
    dataset: TeacherDataset,
    folder: Path | str,
    *,
    video: bool = False,
    fps: int | None = None,
    instruction: str | None = None,
) -> Path:
    """Write a LeRobotDataset v3.0.

    Args:
        folder: a new folder.
        video: store pictures as videos, which are smaller and not exact, instead of PNG.
        fps: env steps per second; default: that of the task's environment.
        instruction: the task in words, for policies that read language; default: the task's name.

    Returns: `folder`.

    Raises:
        UserError: pyarrow is not installed, the folder exists, the environment is not installed and
            `fps` is missing, or frames cannot be a video.
    """
    arrow()
    folder, task = Path(folder), dataset.task
    if folder.exists():
        raise UserError(f"`folder` {folder} exists already. Name a new folder.")
    if video and not task.has_frames:
        raise UserError(f"`video`: {task.name} has no frames. Leave it out.")
    if video:
        check_video_size(*task.frame_size)
    rate = _rate(task, fps)
    features = _features(dataset, video)
    written, words = _Written(), instruction or task.name
    with writing(folder, "Free space, or name another `folder`."), publishing(folder) as unfinished:
        shards = tracked(dataset.shards(), len(dataset.manifest.shards), "shards")
        for shard, arrays in shards:
            _write_shard(unfinished, dataset, shard, arrays, features, rate, words, written)
        write_episodes_table(unfinished, written.episodes)
        write_tasks(unfinished, [words])
        _write_json(unfinished / layout.STATS, _as_json(written))
        _write_json(unfinished / layout.INFO, _info(dataset, features, rate, written))
    return folder


def _rate(task: Task, fps: int | None) -> int:
    if fps is not None:
        if not 1 <= fps < 10_000:
            raise UserError(f"`fps` {fps} must be from 1 to 9999 env steps per second.")
        return fps
    try:
        rate = round(steps_per_second(task))
    except UserError as error:
        raise UserError(f"{error} Or give `fps`, its env steps per second.") from error
    if rate < 1:
        raise UserError(
            f"A step of {task.name} takes seconds, but LeRobot's `fps` is a whole number. Give "
            "`fps`, the pictures per second at which to show it."
        )
    return rate


def _features(dataset: TeacherDataset, video: bool) -> dict[str, Feature]:
    """Return the columns of the new dataset, in order."""
    columns, task = dataset.manifest.step_columns, dataset.task
    h, w = task.frame_size
    stored = "video" if video else "image"
    picture = Feature(stored, (h, w, 3), ["height", "width", "channels"])
    features = {layout.IMAGES + name: picture for name in Views.of(task).channels}
    if STATE in columns:
        size = columns[STATE].shape[0]
        sees = task.has_frames
        n_joints = len(task.proprio_indices) if sees else size
        if n_joints:
            features[layout.ROBOT_STATE] = Feature("float32", (n_joints,))
        if sees:
            features[layout.FULL_STATE] = Feature("float32", (size,))
    features[layout.ACTION] = _vector(ours.ACTION, columns[ours.ACTION])
    features[layout.REWARD] = Feature("float32", (1,))
    features |= dict.fromkeys((layout.DONE, layout.TRUNCATED), Feature("bool", (1,)))
    others = [name for name in columns if name not in _PLACED]
    features |= {name: _vector(name, columns[name]) for name in sorted(others)}
    counters = {name: Feature(dtype, (1,)) for name, dtype in layout.COUNTERS.items()}
    return features | counters


def _vector(name: str, column: Any) -> Feature:
    if len(column.shape) > 1 or any(part in name for part in _RESERVED):
        raise UserError(
            f"The column {name} of shape {column.shape} cannot be stored in a LeRobot dataset."
        )
    return Feature(column.dtype, column.shape or (1,))


def _write_shard(
    folder: Path,
    dataset: TeacherDataset,
    shard: int,
    arrays: Mapping[str, np.ndarray],
    features: Mapping[str, Feature],
    rate: int,
    instruction: str,
    written: _Written,
) -> None:
    """Write the steps of a shard as one file of data and one video per camera."""
    chunk, file = file_place(shard)
    lengths = dataset.manifest.shards[shard].lengths
    starts = np.concatenate([[0], np.cumsum(lengths)])
    views = Views.of(dataset.task)
    tables, first = [], len(written.episodes)
    for place, length in enumerate(lengths):
        steps = slice(int(starts[place]), int(starts[place]) + length)
        columns = _columns(dataset.task, arrays, steps, features)
        pictures = views.split(arrays[FRAME][steps]) if views.channels else {}
        columns |= _counters(first + place, length, written.steps, rate)
        stats = {name: vector_stats(_flat(values)) for name, values in columns.items()}
        stats |= {layout.IMAGES + name: picture_stats(p) for name, p in pictures.items()}
        row = _row(first + place, length, written.steps, instruction, (chunk, file))
        row |= _places_of_videos(features, (chunk, file), steps, rate)
        row |= _kept(arrays, place, views)
        row |= {f"stats/{n}/{key}": v.tolist() for n, s in stats.items() for key, v in s.items()}
        written.episodes.append(row)
        for name, values in stats.items():
            written.stats.setdefault(name, []).append(values)
        stored = {
            layout.IMAGES + name: [to_png(picture) for picture in p]
            for name, p in pictures.items()
            if features[layout.IMAGES + name].dtype == "image"
        }
        tables.append(step_table(columns, stored, features))
        written.steps += length
    pa, pq = arrow()
    path = folder / layout.DATA_PATH.format(chunk_index=chunk, file_index=file)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path)
    for name in views.channels:
        key = layout.IMAGES + name
        if features[key].dtype == "video":
            place = {"video_key": key, "chunk_index": chunk, "file_index": file}
            path = folder / layout.VIDEO_PATH.format(**place)
            h, w, _ = features[key].shape
            write_video(path, _one_by_one(views, name, arrays[FRAME]), (h, w), rate)


def _one_by_one(views: Views, name: str, frames: np.ndarray) -> Iterator[np.ndarray]:
    for step in range(len(frames)):
        yield views.split(frames[step : step + 1])[name][0]


def _columns(
    task: Task, arrays: Mapping[str, np.ndarray], steps: slice, features: Mapping[str, Feature]
) -> dict[str, np.ndarray]:
    """Return the columns of an episode but for pictures and counters."""
    done = arrays[ours.TERMINATED][steps] | arrays[ours.TRUNCATED][steps]
    columns = {
        layout.ACTION: arrays[ours.ACTION][steps],
        layout.REWARD: arrays[ours.REWARD][steps],
        layout.DONE: done,
        layout.TRUNCATED: arrays[ours.TRUNCATED][steps],
    }
    if STATE in arrays:
        state = arrays[STATE][steps]
        columns[layout.FULL_STATE] = state
        columns[layout.ROBOT_STATE] = state[:, task.proprio_indices] if task.has_frames else state
    columns |= {name: arrays[name][steps] for name in features if name in arrays}
    return {name: columns[name] for name in features if name in columns}


def _counters(episode: int, length: int, first: int, rate: int) -> dict[str, np.ndarray]:
    step = np.arange(length)
    return {
        layout.TIME: (step / rate).astype(np.float32),
        layout.STEP: step,
        layout.EPISODE: np.full(length, episode),
        layout.INDEX: first + step,
        layout.TASK: np.zeros(length, np.int64),
    }


def _row(
    episode: int, length: int, first: int, instruction: str, place: tuple[int, int]
) -> dict[str, Any]:
    return {
        layout.EPISODE: episode,
        "tasks": [instruction],
        "length": length,
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": first,
        "dataset_to_index": first + length,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def _places_of_videos(
    features: Mapping[str, Feature], place: tuple[int, int], steps: slice, rate: int
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, feature in features.items():
        if feature.dtype == "video":
            row[f"videos/{name}/chunk_index"], row[f"videos/{name}/file_index"] = place
            row[f"videos/{name}/from_timestamp"] = steps.start / rate
            row[f"videos/{name}/to_timestamp"] = steps.stop / rate
    return row


def _kept(arrays: Mapping[str, np.ndarray], place: int, views: Views) -> dict[str, Any]:
    """Return what LeRobot has no place for: the seed, and the observation after the last step."""
    kept: dict[str, Any] = {f"{layout.OURS}/{ours.SEED}": int(arrays[ours.SEED][place])}
    if ours.FINAL_STATE in arrays:
        state = arrays[ours.FINAL_STATE][place]
        kept[f"{layout.OURS}/{ours.FINAL_STATE}"] = state.astype(np.float64).tolist()
    if ours.FINAL_FRAME in arrays:
        pictures = views.split(arrays[ours.FINAL_FRAME][place : place + 1])
        for name, picture in pictures.items():
            kept[f"{layout.OURS}/{ours.FINAL_FRAME}/{name}"] = to_png(picture[0])
    return kept


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)  # (T,) -> (T, 1)


def _as_json(written: _Written) -> dict[str, Any]:
    return {
        name: {key: value.tolist() for key, value in aggregate(parts).items()}
        for name, parts in written.stats.items()
    }


def _info(
    dataset: TeacherDataset, features: Mapping[str, Feature], rate: int, written: _Written
) -> dict[str, Any]:
    has_video = any(feature.dtype == "video" for feature in features.values())
    return {
        "codebase_version": layout.VERSION,
        "robot_type": dataset.task.name,
        "total_episodes": len(written.episodes),
        "total_frames": written.steps,
        "total_tasks": 1,
        "chunks_size": layout.FILES_PER_CHUNK,
        "data_files_size_in_mb": layout.DATA_MB,
        "video_files_size_in_mb": layout.VIDEO_MB,
        "fps": rate,
        "splits": {"train": f"0:{len(written.episodes)}"},
        "data_path": layout.DATA_PATH,
        "video_path": layout.VIDEO_PATH if has_video else None,
        "features": {name: _described(feature, rate) for name, feature in features.items()},
        layout.OURS: {"recipe": dataclasses.asdict(dataset.manifest.recipe)},
    }


def _described(feature: Feature, rate: int) -> dict[str, Any]:
    described = {"dtype": feature.dtype, "shape": list(feature.shape), "names": feature.names}
    if feature.dtype != "video":
        return described
    h, w, channels = feature.shape
    about = {"height": h, "width": w, "codec": CODEC, "pix_fmt": PIXELS, "is_depth_map": False}
    about |= {"fps": rate, "channels": channels}
    return described | {
        "info": {f"video.{key}": value for key, value in about.items()} | {"has_audio": False}
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4, allow_nan=False) + "\n")
