"""Recordings in memory as data for cloning: frames, joints and actions of any robot."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from Algorithm.cloning.samples.lerobot_columns import read_lerobot
from Algorithm.cloning.samples.recorded_labels import RecordedLabels
from Common.errors import UserError
from Enviroment.custom import recorded_task
from Enviroment.dataset.lerobot.importing import recorded_columns
from Enviroment.observations import FRAME, PROPRIO, frame_channels
from Enviroment.pictures import channels_last, to_frame
from Enviroment.tasks import Task
from Models.families import CATEGORICAL, SQUASHED_GAUSSIAN

_MARGIN = 0.1  # of the range of recorded actions, on both sides of it
_PART = 256  # steps that are hashed at once
_CONSTANT = 1e-6  # smaller standard deviations, relative to the largest value, are rounding


class ArraySamples:
    """Steps of recorded episodes as `CloningData`, without a teacher or an environment.

    The recorded action is the label. Continuous actions are squashed: the student's are always
    within `low` and `high`. Arrays are not copied unless frames are converted, so memory-mapped
    files work.

    Args:
        frames: one picture per step, uint8 `(T, H, W)`, `(T, H, W, C)` or `(T, C, H, W)` with 1
            or 3 channels. Stacks are built on reading.
        proprio: joints of the robot, `(T, P)`; None for a student of frames only.
        actions: `(T, A)`; or discrete ones, integers `(T,)` from 0.
        episode_ends: `(T,)` bool, whether an episode ends with this step. The last one does.
        low, high: bounds of the actions, numbers or `(A,)`; by default those of the recording,
            plus a tenth of their range on both sides.
        n_actions: number of discrete actions; by default the largest one plus 1.
        frame_size: height and width of the frames in pixels; by default that of the pictures.
        grayscale: whether frames are gray; by default as the pictures are.
        stack: frames per observation.
        frame_interval: steps between the frames of a stack.
        name: name of the robot or the task.

    Raises:
        UserError: arrays do not fit together, or values are not valid.
    """

    def __init__(
        self,
        frames: np.ndarray,
        proprio: np.ndarray | None,
        actions: np.ndarray,
        episode_ends: np.ndarray,
        *,
        low: float | np.ndarray | None = None,
        high: float | np.ndarray | None = None,
        n_actions: int | None = None,
        frame_size: tuple[int, int] | None = None,
        grayscale: bool | None = None,
        stack: int = 4,
        frame_interval: int = 2,
        name: str = "recording",
    ) -> None:
        _check_lengths(frames=frames, proprio=proprio, actions=actions, episode_ends=episode_ends)
        actions = np.asarray(actions)
        self._proprio = None if proprio is None else _vectors(proprio, "proprio")
        frames = np.asarray(frames)
        pictures = channels_last(frames[..., None] if frames.ndim == 3 else frames)  # (T, H, W, C)
        self.task = recorded_task(
            name,
            0 if self._proprio is None else self._proprio.shape[1],
            frame_size or pictures.shape[1:3],
            grayscale=pictures.shape[3] == 1 if grayscale is None else grayscale,
            stack=stack,
            frame_interval=frame_interval,
        )
        self._frames = _converted(pictures, self.task)  # (T, C, H, W)
        self.family, self.action_space, self._labels = _labels(actions, low, high, n_actions)
        ends = np.asarray(episode_ends, bool).copy()
        ends[-1] = True
        self._episode = np.cumsum(ends) - ends  # (T,), from 0
        starts = np.flatnonzero(np.concatenate([[True], ends[:-1]]))
        self._first = starts[self._episode]  # (T,), first step of the episode
        self._ages = np.arange(self.task.history, -1, -frame_interval)  # of a stack, in steps

    @classmethod
    def from_lerobot(
        cls,
        data: Any,
        camera: str | None = None,
        *,
        frame_size: tuple[int, int] = (64, 64),
        grayscale: bool = False,
        **settings: Any,
    ) -> Self:
        """Return the samples of a dataset of LeRobot, or of data with LeRobot's names.

        These are `observation.images.<camera>` or `observation.image`, `observation.state`
        (optional), `action`, `episode_index` and `frame_index` (optional).

        Args:
            data: the folder of a LeRobotDataset v3.0; a dictionary of columns; or steps by index,
                each a dictionary, such as a `LeRobotDataset` or a dataset of Hugging Face.
            camera: name of the camera; not needed if there is only one.
            frame_size, grayscale: the pictures are converted while they are read.
            settings: further arguments of the class.

        Raises:
            UserError: a column or camera is missing, or steps are missing in an episode.
        """
        convert = partial(to_frame, size=frame_size, grayscale=grayscale)
        if isinstance(data, str | Path):
            # Pictures become frames while they are read, and are then left as they are.
            data, camera, convert = recorded_columns(data, camera, convert), None, np.asarray
        return cls(**read_lerobot(data, camera, convert), **settings)

    def __len__(self) -> int:
        return len(self._episode)

    @property
    def observation_space(self) -> spaces.Dict:
        """Return the observation groups of a student of these recordings."""
        task = self.task
        shape = (task.stack * frame_channels(task), *task.frame_size)
        groups: dict[str, spaces.Space] = {FRAME: spaces.Box(0, 255, shape, np.uint8)}
        if self._proprio is not None:
            sizes = self._proprio.shape[1:]
            groups[PROPRIO] = spaces.Box(-np.inf, np.inf, sizes, np.float32)
        return spaces.Dict(groups)

    def statistics(self) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return means and standard deviations of vector groups; 1 for what never changes."""
        if self._proprio is None:
            return {}, {}
        values = self._proprio.astype(np.float64)
        std = values.std(axis=0)
        std[std < _CONSTANT * np.maximum(1, np.abs(values).max(axis=0))] = 1.0
        return {PROPRIO: values.mean(axis=0).tolist()}, {PROPRIO: std.tolist()}

    def read(self, indices: np.ndarray, columns: Collection[str]) -> Mapping[str, np.ndarray]:
        """Return samples (see `Samples.read`)."""
        return {name: self._column(name, indices) for name in columns}

    def _column(self, name: str, indices: np.ndarray) -> np.ndarray:
        if name == FRAME:
            steps = np.maximum(indices[:, None] - self._ages, self._first[indices, None])
            stacks = self._frames[steps]  # (B, stack, C, H, W)
            return stacks.reshape(len(indices), -1, *self.task.frame_size)  # (B, stack * C, H, W)
        if name == PROPRIO and self._proprio is not None:
            return self._proprio[indices]
        return self._labels[name][indices]

    def episode_numbers(self) -> np.ndarray:
        """Return the episode of each step, `(T,)`."""
        return self._episode

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices for training and validation (see `CloningData.split`).

        A recording of one episode has no validation.
        """
        n_episodes = int(self._episode[-1]) + 1
        count = max(1, round(validation_fraction * n_episodes)) if validation_fraction else 0
        count = min(count, n_episodes - 1)
        held_out = np.zeros(n_episodes, bool)
        held_out[np.random.default_rng(seed).permutation(n_episodes)[:count]] = True
        steps = held_out[self._episode]
        return np.flatnonzero(~steps), np.flatnonzero(steps)

    def identity(self) -> dict[str, Any]:
        """Return JSON that identifies the data (see `CloningData.identity`)."""
        digest = hashlib.sha256(repr(self.task).encode())
        proprio = [] if self._proprio is None else [self._proprio]
        for array in (self._frames, self._first, *proprio, *self._labels.values()):
            # In parts: of memory-mapped frames in another order of axes, each is a copy.
            for first in range(0, len(array), _PART):
                digest.update(np.ascontiguousarray(array[first : first + _PART]).data)
        return {"states": len(self), "sha256": digest.hexdigest()}


def _converted(pictures: np.ndarray, task: Task) -> np.ndarray:
    """Return pictures `(T, H, W, C)` as frames `(T, C, H, W)`; a view if nothing changes."""
    is_same = pictures.shape[1:] == (*task.frame_size, frame_channels(task))
    if is_same and pictures.dtype == np.uint8:
        return pictures.transpose(0, 3, 1, 2)
    gray = task.grayscale
    return np.stack([to_frame(picture, task.frame_size, grayscale=gray) for picture in pictures])


def _labels(
    actions: np.ndarray,
    low: float | np.ndarray | None,
    high: float | np.ndarray | None,
    n_actions: int | None,
) -> tuple[str, spaces.Space, dict[str, np.ndarray]]:
    """Return family, action space and the parameters of the labels by column, `(T, ...)`."""
    if actions.ndim == 1 and np.issubdtype(actions.dtype, np.integer):
        n = int(actions.max()) + 1 if n_actions is None else n_actions
        if actions.min() < 0 or actions.max() >= n:
            raise UserError(f"Discrete actions must be 0 to {n - 1}, the {n} of `n_actions`.")
        choices = spaces.Discrete(n)
        return CATEGORICAL, choices, RecordedLabels(CATEGORICAL, choices).of(actions)
    values = _vectors(actions, "actions")
    box = _bounds(values, low, high)
    return SQUASHED_GAUSSIAN, box, RecordedLabels(SQUASHED_GAUSSIAN, box).of(values)


def _bounds(
    values: np.ndarray, low: float | np.ndarray | None, high: float | np.ndarray | None
) -> spaces.Box:
    least, most = values.min(axis=0), values.max(axis=0)
    margin = _MARGIN * np.where(most > least, most - least, 1.0)
    lows = np.broadcast_to(least - margin if low is None else low, least.shape)
    highs = np.broadcast_to(most + margin if high is None else high, most.shape)
    if not (lows < highs).all() or (least < lows).any() or (most > highs).any():
        raise UserError(
            f"`low` {lows.tolist()} and `high` {highs.tolist()} must differ, and contain the "
            f"recorded actions, {least.tolist()} to {most.tolist()}."
        )
    return spaces.Box(lows.astype(np.float32), highs.astype(np.float32), dtype=np.float32)


def _vectors(values: np.ndarray, name: str) -> np.ndarray:
    """Return float32 `(T, N)`. Raise UserError for other shapes and for values not finite."""
    array = np.asarray(values, np.float32)
    if array.ndim != 2 or not array.shape[1]:
        raise UserError(f"`{name}` {array.shape} must be one vector per step, (T, N).")
    if not np.isfinite(array).all():
        step = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise UserError(f"`{name}` of step {step} are not finite: {array[step].tolist()}.")
    return array


def _check_lengths(**arrays: np.ndarray | None) -> None:
    """Raise UserError unless all arrays have the same number of steps, at least 1."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise UserError(f"All arrays need the same number of steps, at least 1: {listed}.")
