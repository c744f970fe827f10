"""Read a folder in LeRobot's format v3.0, episode by episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from Common.errors import UserError
from Common.names import nearest
from Enviroment.dataset.lerobot import layout
from Enviroment.dataset.lerobot.layout import Feature, Info, arrow, read_info
from Enviroment.dataset.lerobot.pictures import from_png, read_video

Convert = Callable[[np.ndarray], np.ndarray]  # a picture (H, W, 3) to what is kept of it
_ROWS = 256  # of a file of data at once
_LATE = 0.1  # of a step: how far a time may be from its place
# Errors of pyarrow, which derive from these, and of the checks here.
UNREADABLE = (ValueError, KeyError, TypeError, OSError, NotImplementedError)


@dataclass(frozen=True)
class Span:
    """An episode: its steps, and the files that hold them."""

    first: int
    length: int
    data: tuple[int, int]  # chunk and file
    videos: Mapping[str, tuple[int, int, float]]  # by column: chunk, file, first second
    notes: Mapping[str, Any]  # of our own export, by name


class LeRobotFolder:
    """A dataset in LeRobot's format: a folder that was checked, and not read yet.

    Args:
        folder: the folder, which holds `meta/info.json`.

    Raises:
        UserError: pyarrow is not installed, or the folder does not hold a dataset of version 3.0.
    """

    def __init__(self, folder: Path | str) -> None:
        arrow()
        self.folder = Path(folder)
        self.info: Info = read_info(self.folder)
        try:
            self.spans = self._read_spans()
        except UNREADABLE as error:
            raise self._damaged("meta/episodes", error) from error

    @property
    def lengths(self) -> list[int]:
        """Env steps of each episode."""
        return [span.length for span in self.spans]

    def camera(self, name: str | None) -> str:
        """Return the name of a camera, which may be left out if there is only one.

        Raises:
            UserError: there is no such camera, or there are several and none is named.
        """
        cameras = self.info.cameras
        if not cameras:
            raise UserError(f"{self.folder} has no pictures, only {', '.join(self.info.features)}.")
        if name is None and len(cameras) > 1:
            raise UserError(f"{self.folder} has several cameras. Give `camera`: {_or(cameras)}.")
        name = next(iter(cameras)) if name is None else name.removeprefix(layout.IMAGES)
        if name not in cameras:
            raise UserError(
                f"`camera` {name!r} is not in {self.folder}. Is it {nearest(name, cameras)}?"
            )
        return name

    def episodes(
        self, columns: Sequence[str], pictures: Mapping[str, Convert]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield the columns of each episode in order, `(T, ...)`.

        Args:
            columns: names of columns of numbers.
            pictures: by the name of a camera, what becomes of its pictures. Each is decoded alone.

        Raises:
            UserError: a file is missing or damaged, or steps are missing.
        """
        rows = self._rows([*columns, *self._stored(pictures)])
        films = {name: _Film(self, name) for name in pictures if self._is_video(name)}
        for index, span in enumerate(self.spans):
            try:
                episode = rows(span)
                self._check_steps(index, span, episode)
                for camera, convert in pictures.items():
                    column = self.info.column_of(camera)
                    shape = self.info.features[column].shape
                    if camera in films:
                        found = films[camera].frames(span)
                    else:
                        found = (from_png(file, shape) for file in episode.pop(column))
                    episode[camera] = np.stack([convert(picture) for picture in found])
            except UNREADABLE as error:
                raise self._damaged(f"episode {index}", error) from error
            yield episode

    def _stored(self, pictures: Mapping[str, Convert]) -> list[str]:
        return [self.info.column_of(name) for name in pictures if not self._is_video(name)]

    def _is_video(self, camera: str) -> bool:
        return self.info.cameras[camera].dtype == "video"

    def path_of(self, pattern: str, chunk: int, file: int, camera: str = "") -> Path:
        """Return the path of a file of data, of a video or of episodes."""
        return self.folder / pattern.format(chunk_index=chunk, file_index=file, video_key=camera)

    def _read_spans(self) -> list[Span]:
        _, pq = arrow()
        paths = sorted((self.folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        if not paths:
            raise ValueError("there is no file")
        spans: list[Span] = []
        for path in paths:
            file = pq.ParquetFile(path)
            wanted = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
            for batch in file.iter_batches(_ROWS, columns=wanted):
                spans += [_span(row, self.info) for row in batch.to_pylist()]
        spans.sort(key=lambda span: span.first)
        first = 0
        for span in spans:
            if span.length < 1 or span.first != first:
                raise ValueError(f"an episode begins at step {span.first}, not {first}")
            first += span.length
        if (len(spans), first) != (self.info.total_episodes, self.info.total_frames):
            raise ValueError(
                f"it has {first} steps of {len(spans)} episodes, but {layout.INFO} says "
                f"{self.info.total_frames} of {self.info.total_episodes}"
            )
        return spans

    def _rows(self, columns: Sequence[str]) -> Callable[[Span], dict[str, np.ndarray]]:
        """Return a function of the next episode, which reads files of data once, in order."""
        _, pq = arrow()
        names = [*columns, layout.EPISODE, layout.STEP, layout.INDEX, layout.TIME]
        place: tuple[int, int] | None = None
        batches: Iterator[dict[str, np.ndarray]] = iter(())
        held: dict[str, np.ndarray] = {}

        def next_episode(span: Span) -> dict[str, np.ndarray]:
            nonlocal place, batches, held
            if span.data != place:
                place = span.data
                file = pq.ParquetFile(self.path_of(layout.DATA_PATH, *place))
                raw = file.iter_batches(_ROWS, columns=names)
                batches = (_decoded(batch, names, self.info.features) for batch in raw)
                held = {}
            while not held or len(held[layout.INDEX]) < span.length:
                more = next(batches, None)
                if more is None:
                    raise ValueError("steps are missing in the data")
                held = {n: np.concatenate([held[n], more[n]]) for n in names} if held else more
            episode = {name: held[name][: span.length] for name in names}
            held = {name: held[name][span.length :] for name in names}
            return episode

        return next_episode

    def _check_steps(self, index: int, span: Span, episode: dict[str, np.ndarray]) -> None:
        """Check the counters of an episode, and its times by the frames per second."""
        step = np.arange(span.length)
        if len(set(episode.pop(layout.EPISODE).tolist())) > 1:
            raise ValueError("its steps are of several episodes")
        if (episode.pop(layout.STEP) != step).any():
            raise ValueError("its steps are not numbered from 0 without gaps")
        if (episode.pop(layout.INDEX) != span.first + step).any():
            raise ValueError(f"its steps are not {span.first} to {span.first + span.length - 1}")
        late = np.abs(episode.pop(layout.TIME) * self.info.fps - step)
        if (late > _LATE).any():
            at = int(np.argmax(late > _LATE))
            raise ValueError(
                f"step {at} is not at {at / self.info.fps:g} s, which the {self.info.fps} frames "
                f"per second of {layout.INFO} require"
            )

    def _damaged(self, where: str, error: Exception) -> UserError:
        what = (str(error) or repr(error)).partition("\n")[0]
        return UserError(
            f"{self.folder}, {where}: {what:.400}. The dataset is damaged or incomplete: copy it "
            "again."
        )


class _Film:
    """The frames of one camera, whose videos are decoded once, in order."""

    def __init__(self, folder: LeRobotFolder, camera: str) -> None:
        self._folder, self._column = folder, folder.info.column_of(camera)
        self._place: tuple[int, int] | None = None
        self._frames: Iterator[np.ndarray] = iter(())
        self._next = 0  # index of the next frame of the video

    def frames(self, span: Span) -> Iterator[np.ndarray]:
        """Yield the frames of an episode.

        Raises:
            ValueError: the video is missing or too short.
        """
        chunk, file, second = span.videos[self._column]
        first = round(second * self._folder.info.fps)
        if (chunk, file) != self._place or first < self._next:
            path = self._folder.path_of(layout.VIDEO_PATH, chunk, file, self._column)
            shape = self._folder.info.features[self._column].shape
            self._place, self._next = (chunk, file), 0
            self._frames = read_video(path, shape)
        for _ in islice(self._frames, first - self._next):
            pass
        count = 0
        for frame in islice(self._frames, span.length):
            count += 1
            yield frame
        self._next = first + span.length
        if count < span.length:
            raise ValueError(f"the video of {self._column} ends after {count} of its frames")


def _span(row: Mapping[str, Any], info: Info) -> Span:
    videos = {}
    for name, feature in info.features.items():
        if feature.dtype == "video":
            place = [row[f"videos/{name}/{key}"] for key in ("chunk_index", "file_index")]
            videos[name] = (*map(int, place), float(row[f"videos/{name}/from_timestamp"]))
    prefix = f"{layout.OURS}/"
    return Span(
        int(row["dataset_from_index"]),
        int(row["length"]),
        (int(row["data/chunk_index"]), int(row["data/file_index"])),
        videos,
        {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix)},
    )


def _decoded(
    batch: Any, names: Sequence[str], features: Mapping[str, Feature]
) -> dict[str, np.ndarray]:
    """Return columns of a batch, `(T, N)`, or `(T,)` for single numbers and pictures' files."""
    columns = {}
    for name in names:
        feature, column = features[name], batch.column(name)
        if column.null_count:
            raise ValueError(f"{name} has steps without a value")
        if feature.is_picture:
            files = np.empty(len(column), object)
            files[:] = column.field("bytes").to_pylist()
            columns[name] = files
            continue
        values = np.asarray(_flattened(column).to_numpy(zero_copy_only=False))
        size = int(np.prod(feature.shape))
        if values.size != len(column) * size or values.dtype.kind not in "fiub":
            raise ValueError(f"{name} is not {size} numbers per step")
        # (T * N,) -> (T, N)
        columns[name] = values.reshape(-1) if feature.shape == (1,) else values.reshape(-1, size)
    return columns


def _flattened(column: Any) -> Any:
    """Return the numbers of a column of (nested) lists."""
    while hasattr(column, "flatten") and not hasattr(column, "field"):
        if not hasattr(column, "values"):
            break
        column = column.flatten()
    return column


def _or(names: Mapping[str, Any]) -> str:
    return " or ".join(names)
