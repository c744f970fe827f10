"""Import LeRobotDataset v3.0 as a teacher dataset, for `--BC_phase`.

A dataset of our own export is restored; with PNG bit-for-bit. Of others, the recorded action is
the label.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from Common.errors import UserError
from Common.files.typed_json import typed
from Enviroment.dataset import format as ours
from Enviroment.dataset.collect import check_folder
from Enviroment.dataset.imported import (
    check_episode,
    foreign_recipe,
    with_origin,
    write_episodes,
)
from Enviroment.dataset.lerobot import layout
from Enviroment.dataset.lerobot.export import Views
from Enviroment.dataset.lerobot.folder import UNREADABLE, Convert, LeRobotFolder, Span
from Enviroment.dataset.lerobot.pictures import from_png
from Enviroment.observations import FRAME, STATE
from Enviroment.pictures import to_frame
from Enviroment.simulation.making import make_simulation
from Enviroment.simulation.step_rate import steps_per_second
from Enviroment.task import Task

_LABELS = (ours.BEHAVIOUR_ACTION, ours.VALUE)


def exported_task(folder: LeRobotFolder) -> Task | None:
    """Return the task of a dataset that this toolkit exported; None if it has another origin.

    Raises:
        UserError: its description is not valid.
    """
    recipe = folder.info.recipe
    if recipe is None:
        return None
    task = recipe.get("task")
    path = folder.folder / layout.INFO
    return ours.described_task(path, task if isinstance(task, dict) else {})


def import_lerobot(
    source: LeRobotFolder | Path | str,
    task: Task,
    folder: Path | str,
    *,
    camera: str | None = None,
    fps: int | None = None,
) -> Path:
    """Import a dataset of LeRobot into a new teacher dataset.

    It needs `observation.state` or `observation.environment_state` of the size of the task's state
    (except for games), and a camera for each of the task's. Pictures are converted to the frames of
    the task. Rewards that it lacks are 0. It has no observation after the last step of an episode:
    the last one is repeated.

    Args:
        source: its folder.
        task: the task of the dataset.
        folder: a new or empty folder.
        camera: the camera of the frames, if it has several and the task has one.
        fps: its frames per second, to import it though they are not the task's.

    Returns: `folder`.

    Raises:
        UserError: the dataset cannot be read, or does not fit. The message names the episode.
            `folder` is then as it was.
    """
    folder = Path(folder)
    check_folder(folder)
    if not isinstance(source, LeRobotFolder):
        source = LeRobotFolder(source)
    is_ours = source.info.recipe is not None and exported_task(source) == task
    plan = _Plan(source, task, camera, is_ours=is_ours)
    if not is_ours:
        _check_rate(source, task, fps)
        _check_sizes(source, task, plan.state)
    write_episodes(folder, _recipe(source, task, is_ours), task, source.folder, plan.episodes())
    return folder


def _check_rate(source: LeRobotFolder, task: Task, fps: int | None) -> None:
    """Raise UserError for steps of another length than the task's, unless they are accepted."""
    theirs = source.info.fps
    if fps is not None:
        if fps != theirs:
            raise UserError(f"`fps` {fps} is not the {theirs:g} of {source.folder}.")
        return
    try:
        wanted = steps_per_second(task)
    except UserError as error:
        raise UserError(f"{error} Or give `fps` {theirs:g} to import it as it is.") from error
    if theirs not in (wanted, round(wanted)):
        raise UserError(
            f"{source.folder} has {theirs:g} frames per second, but {task.name} has {wanted:g} "
            "steps per second: a student would see motion at another speed. Resample the dataset, "
            f"or give `fps` {theirs:g} to import it as it is."
        )


def _check_sizes(source: LeRobotFolder, task: Task, state: str | None) -> None:
    """Raise UserError for states or actions of another size than the environment's."""
    if task.is_game:
        return
    try:
        with contextlib.closing(make_simulation(task)) as env:
            wanted = {layout.ACTION: env.action_space.shape or (1,)}
            if state is not None:
                wanted[state] = env.observation_space.shape or (1,)
    except UserError:  # not installed: `fps` was given, and training will check
        return
    for name, shape in wanted.items():
        theirs = source.info.features[name].shape
        if theirs != shape:
            raise UserError(
                f"{source.folder}: {name} has the shape {theirs}, but that of {task.name} is "
                f"{shape}. Give the task of the dataset (`task`); `ArraySamples.from_lerobot` "
                "clones recordings without an environment."
            )


def _recipe(source: LeRobotFolder, task: Task, is_ours: bool) -> ours.Recipe:
    kept, name = source.info.recipe, str(source.folder)
    if kept is None or not is_ours:
        return foreign_recipe(name, ours.IMPORT_LEROBOT, task, source.lengths)
    try:
        recipe = typed(ours.Recipe, kept, "recipe")
    except (ValueError, UserError) as error:
        raise UserError(f"{name} has no recipe of this version: {error}.") from error
    exact = all(feature.dtype != "video" for feature in source.info.features.values())
    return recipe if exact else with_origin(recipe, name, ours.IMPORT_LEROBOT)


class _Plan:
    """What is read of a dataset, and how it becomes the columns of a task."""

    def __init__(
        self, source: LeRobotFolder, task: Task, camera: str | None, *, is_ours: bool
    ) -> None:
        self.source, self.task, self.is_ours = source, task, is_ours
        features = source.info.features
        self.state = self._state_column() if task.has_state else None
        if layout.ACTION not in features:
            raise UserError(f"{source.folder} has no {layout.ACTION}, only {', '.join(features)}.")
        wanted = [layout.ACTION, layout.REWARD, layout.DONE, layout.TRUNCATED, *_LABELS]
        labels = [name for name in features if name.startswith(ours.DISTRIBUTION)]
        self.columns = [name for name in (*wanted, *labels) if name in features]
        self.columns += [self.state] if self.state is not None else []
        self.pictures = self._pictures(camera) if task.has_frames else {}

    def _state_column(self) -> str:
        features = self.source.info.features
        for name in (layout.FULL_STATE, layout.ROBOT_STATE):
            if name in features:
                return name
        raise UserError(
            f"{self.source.folder} has no {layout.ROBOT_STATE} and no {layout.FULL_STATE}, only "
            f"{', '.join(features)}: {self.task.name} needs a state. `ArraySamples.from_lerobot` "
            "clones recordings of frames alone."
        )

    def _pictures(self, camera: str | None) -> dict[str, Convert]:
        """Return the conversion of the pictures of each camera, in the order of the channels."""
        task, views = self.task, Views.of(self.task).channels
        convert = partial(_as_frame, size=task.frame_size)
        if len(views) == 1 and task.depth is None:
            return {self.source.camera(camera): partial(convert, grayscale=task.grayscale)}
        if camera is not None:
            raise UserError(f"`camera` {camera}: {task.name} has several views. Leave it out.")
        return {
            self.source.camera(name): partial(
                convert, grayscale=channels.stop - channels.start == 1
            )
            for name, channels in views.items()
        }

    def episodes(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield each episode as the columns of `TeacherDataset`."""
        found = self.source.episodes(self.columns, self.pictures)
        for index, (span, data) in enumerate(zip(self.source.spans, found, strict=True)):
            try:
                yield self._episode(span, data)
            except UNREADABLE as error:
                raise UserError(
                    f"Episode {index} of {self.source.folder} does not fit {self.task.name}: "
                    f"{error}."
                ) from error

    def _episode(self, span: Span, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        length = span.length
        seen: dict[str, np.ndarray] = {}
        if self.pictures:
            seen[FRAME] = np.concatenate([data[name] for name in self.pictures], axis=1)
        if self.state is not None:
            values = data[self.state]
            seen[STATE] = np.asarray(values if values.ndim == 2 else values[:, None], np.float32)
        truncated, terminated = _ends(data, length)
        steps = {
            **seen,
            **self._labels(data),
            ours.REWARD: np.asarray(data.get(layout.REWARD, np.zeros(length)), np.float32),
            ours.TERMINATED: terminated,
            ours.TRUNCATED: truncated,
        }
        check_episode(steps, self.task, length)
        return steps | self._finals(span, seen)

    def _labels(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        actions = data[layout.ACTION]
        # Integers of several dimensions are indices in our own exports; others may be of a Box.
        is_index = actions.dtype.kind in "iu" and (self.is_ours or actions.ndim == 1)
        kind = np.int64 if is_index else np.float32
        if not is_index and actions.ndim == 1:
            actions = actions[:, None]  # (T,) -> (T, 1)
        labels = {ours.ACTION: actions.astype(kind)}
        for name, values in data.items():
            if name == ours.BEHAVIOUR_ACTION:
                labels[name] = values.reshape(actions.shape).astype(kind)
            elif name == ours.VALUE:
                labels[name] = values.astype(np.float32)
            elif name.startswith(ours.DISTRIBUTION):
                labels[name] = np.asarray(
                    values if values.ndim == 2 else values[:, None], np.float32
                )
        return labels

    def _finals(self, span: Span, seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the seed, and the observation after the last step, as kept or repeated."""
        notes: Mapping[str, Any] = span.notes if self.is_ours else {}
        seed = np.array([int(notes.get(ours.SEED, -1))], np.int64)
        ends: dict[str, np.ndarray] = {ours.SEED: seed}
        for group, values in seen.items():
            ends[ours.FINALS[group]] = values[-1:]
        if ours.FINAL_STATE in notes and STATE in seen:
            state = np.array([notes[ours.FINAL_STATE]], np.float32)
            ends[ours.FINAL_STATE] = state.reshape(1, *seen[STATE].shape[1:])
        kept = {name: notes.get(f"{ours.FINAL_FRAME}/{name}") for name in self.pictures}
        if FRAME in seen and all(kept.values()):
            shape = (*self.task.frame_size, 3)
            frames = [self.pictures[name](from_png(file, shape)) for name, file in kept.items()]
            ends[ours.FINAL_FRAME] = np.concatenate(frames)[None]
        return ends


def _as_frame(picture: np.ndarray, *, size: tuple[int, int], grayscale: bool) -> np.ndarray:
    return to_frame(picture, size, grayscale=grayscale)


def _ends(data: Mapping[str, np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each step was cut off, and whether it ended the episode, bool `(T,)`.

    Recordings of robots do not hold this: then the episode was cut off at its end.
    """
    none = np.zeros(length, bool)
    truncated = np.asarray(data.get(layout.TRUNCATED, none), bool).copy()
    done = np.asarray(data.get(layout.DONE, none), bool)
    terminated = done & ~truncated
    terminated[:-1] = False
    truncated[:-1] = False
    truncated[-1] |= not terminated[-1]
    return truncated, terminated


def recorded_columns(
    source: Path | str, camera: str | None, convert: Convert
) -> dict[str, np.ndarray]:
    """Return a whole dataset by LeRobot's names, for `ArraySamples.from_lerobot`.

    Args:
        camera: see `LeRobotFolder.camera`.
        convert: returns a picture as a frame; called once per step, so that only frames are kept.

    Raises:
        UserError: see `LeRobotFolder`.
    """
    folder = LeRobotFolder(source)
    name = folder.camera(camera)
    wanted = [n for n in (layout.ROBOT_STATE, layout.ACTION) if n in folder.info.features]
    parts: dict[str, list[np.ndarray]] = {}
    for index, episode in enumerate(folder.episodes(wanted, {name: convert})):
        episode[layout.EPISODE] = np.full(len(episode[name]), index)
        for key, values in episode.items():
            parts.setdefault(key, []).append(values)
    columns = {key: np.concatenate(values) for key, values in parts.items()}
    columns[folder.info.column_of(name)] = columns.pop(name)
    return columns
