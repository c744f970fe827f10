"""The layout of a LeRobotDataset v3.0: its files, the names of its columns, and `meta/info.json`.

meta/info.json  meta/stats.json  meta/tasks.parquet
meta/episodes/chunk-000/file-000.parquet      a row per episode
data/chunk-000/file-000.parquet               a row per step
videos/<camera>/chunk-000/file-000.mp4        unless pictures are in the data
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.files.typed_json import typed

INSTALL = "pip install pyarrow"
VERSION = "v3.0"
INFO, STATS, TASKS = Path("meta/info.json"), Path("meta/stats.json"), Path("meta/tasks.parquet")
# As LeRobot writes them into `info.json`.
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200  # size of a file, as LeRobot limits it

IMAGES, IMAGE = "observation.images.", "observation.image"
ROBOT_STATE, FULL_STATE = "observation.state", "observation.environment_state"
ACTION = "action"
REWARD, DONE, TRUNCATED = "next.reward", "next.done", "next.truncated"
EPISODE, STEP, INDEX, TIME, TASK = (
    "episode_index",
    "frame_index",
    "index",
    "timestamp",
    "task_index",
)
COUNTERS = {TIME: "float32", STEP: "int64", EPISODE: "int64", INDEX: "int64", TASK: "int64"}

OURS = "vision_distillation"  # key of our own notes, in `info.json` and before columns of episodes
_MAX_STEPS, _MAX_SIDE, _MAX_FEATURES = 2**31, 4096, 256
# The command that converts datasets of older versions.
_CONVERT = "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id OWNER/NAME"
_NAME = re.compile(r"[\w][\w. -]{0,200}")

Stored = Literal["image", "video"]


@dataclass(frozen=True)
class Feature:
    """A column: its type and the shape of a step."""

    dtype: str  # of numpy; "image" or "video" for pictures, whose shape is (H, W, C)
    shape: tuple[int, ...]
    names: Any = None
    info: Any = None  # of a video

    @property
    def is_picture(self) -> bool:
        return self.dtype in ("image", "video")


@dataclass(frozen=True)
class Info:
    """The content of `meta/info.json` that is read."""

    codebase_version: str
    fps: int | float
    total_episodes: int
    total_frames: int
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    recipe: dict[str, Any] | None = None  # of our own export

    def __post_init__(self) -> None:
        if not 0 < self.total_episodes <= self.total_frames < _MAX_STEPS:
            raise ValueError(f"{self.total_frames} steps of {self.total_episodes} episodes")
        if not 0 < self.fps < 10_000:
            raise ValueError(f"fps is {self.fps}")
        if len(self.features) > _MAX_FEATURES:
            raise ValueError(f"it has {len(self.features)} features")
        # They become paths, which must not leave the folder.
        if self.data_path != DATA_PATH or self.video_path not in (None, VIDEO_PATH):
            raise ValueError(f"its files are elsewhere: {self.data_path!r:.200}")
        for name, feature in self.features.items():
            self._check(name, feature)

    def _check(self, name: str, feature: Feature) -> None:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"{name!r:.80} is no name of a feature")
        if not all(0 < size < 2**24 for size in feature.shape):
            raise ValueError(f"{name} has the shape {feature.shape}")
        if feature.is_picture:
            if len(feature.shape) != 3 or max(feature.shape) > _MAX_SIDE:
                raise ValueError(f"{name} has the shape {feature.shape}, no picture")
            if feature.dtype == "video" and self.video_path is None:
                raise ValueError(f"{name} is a video, but it has no video_path")

    @property
    def cameras(self) -> dict[str, Feature]:
        """The pictures by the name of their camera, without `observation.images.`."""
        return {
            name.removeprefix(IMAGES): feature
            for name, feature in self.features.items()
            if feature.is_picture and (name.startswith(IMAGES) or name == IMAGE)
        }

    def column_of(self, camera: str) -> str:
        """Return the name of a camera's column."""
        return IMAGE if camera == IMAGE else IMAGES + camera


def read_info(folder: Path) -> Info:
    """Return the checked description of a dataset.

    Raises:
        UserError: the folder holds none, or one of another version, or it is not valid.
    """
    path = folder / INFO
    data = read_object(path)
    if data is None:
        raise UserError(
            f"{folder} is not a dataset of LeRobot: it has no {INFO}. Give the folder of one; `hf "
            "download` gets it from the Hub."
        )
    version = data.get("codebase_version")
    if version != VERSION:
        raise UserError(
            f"{folder} has version {version!r:.20} of LeRobot's format, and this reads {VERSION}. "
            f"LeRobot converts older ones: `{_CONVERT}`."
        )
    try:
        return typed(Info, {**_known(data), "recipe": _recipe(data)}, "info")
    except (KeyError, ValueError, UserError) as error:
        raise UserError(f"{path} is not valid: {error}.") from error


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are read. LeRobot has more, and adds to them."""
    features = typed(dict[str, dict[str, Any]], data["features"], "features")
    fields = ("codebase_version", "fps", "total_episodes", "total_frames", "data_path")
    kept = ("dtype", "shape")
    return {
        **{name: data[name] for name in fields},
        "video_path": data.get("video_path"),
        "features": {
            name: {key: feature[key] for key in kept} for name, feature in features.items()
        },
    }


def _recipe(data: Mapping[str, Any]) -> dict[str, Any] | None:
    notes = data.get(OURS)
    return None if notes is None else typed(dict[str, dict[str, Any]], notes, OURS)["recipe"]


def file_place(index: int) -> tuple[int, int]:
    """Return the chunk and the file of the `index`-th file."""
    return divmod(index, FILES_PER_CHUNK)


def arrow() -> tuple[Any, Any]:
    """Return pyarrow and its module of parquet files.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(f"LeRobot's datasets need pyarrow: {INSTALL}.") from None
