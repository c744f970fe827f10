"""Write episodes of another format as a teacher dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from Common.errors import UserError
from Common.files.durable import publishing, remove, writing
from Common.files.locks import locked
from Enviroment.dataset.collect import episodes_per_shard, is_free, publish_shard
from Enviroment.dataset.format import (
    BEHAVIOUR_ACTION,
    FINALS,
    IMPORTED_BY,
    IMPORTED_FROM,
    REWARD,
    SEED,
    Manifest,
    Recipe,
    check_task,
    describe_task,
    frame_column,
)
from Enviroment.dataset.shards import Column
from Enviroment.observations import FRAME
from Enviroment.tasks import Task

_NO_ROOM = "Free space, or name another `folder`."

Episode = Mapping[str, np.ndarray]  # columns of the steps `(T, ...)` and of the end `(1, ...)`


def foreign_recipe(source: str, command: str, task: Task, lengths: list[int]) -> Recipe:
    """Return the recipe of a dataset that this toolkit did not collect.

    Args:
        command: the command that imports it, of `IMPORT_COMMANDS`.
    """
    return Recipe(
        task=describe_task(task),
        teacher={IMPORTED_FROM: source, IMPORTED_BY: command},
        num_data=sum(lengths),
        behaviour_noise=0.0,
        first_seed=-1,
        max_steps=max(lengths),
        episodes_per_shard=episodes_per_shard(task, max(lengths)),
        versions={},
    )


def check_episode(steps: Mapping[str, np.ndarray], task: Task, length: int) -> None:
    """Raise ValueError unless the columns of an episode's steps fit each other and the task."""
    frames = steps.get(FRAME)
    if frames is not None:
        wanted = frame_column(task)
        if (frames.dtype, frames.shape[1:]) != (wanted.dtype, wanted.shape):
            shape = frames.shape[1:]
            raise ValueError(f"frames are {frames.dtype} {shape}, not uint8 {wanted.shape}")
    for name, values in steps.items():
        if len(values) != length:
            raise ValueError(f"{name} has {len(values)} entries for {length} steps")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity")


def write_episodes(
    folder: Path, recipe: Recipe, task: Task, source: Path, episodes: Iterator[Episode]
) -> None:
    """Write whole episodes as a dataset, which appears when all of it is on the disk.

    Args:
        folder: new or empty.
        source: what the episodes are of, for messages.

    Raises:
        UserError: the folder is not free, there are fewer episodes than in the recipe, or they
            differ in their columns or from the task. The folder is then unchanged.
    """
    _check_free(folder)
    first = next(episodes)
    step_columns, episode_columns = _columns(first)
    if IMPORTED_FROM not in recipe.teacher and recipe.behaviour_noise == 0:
        step_columns.pop(BEHAVIOUR_ACTION, None)  # as in the exported dataset
    manifest = Manifest(recipe, step_columns, episode_columns)
    check_task(source, manifest, task)
    target = folder.resolve()  # where a link leads
    with writing(folder, _NO_ROOM), publishing(target) as unfinished:
        waiting = [first]
        for episode in episodes:
            if len(waiting) == recipe.episodes_per_shard:
                manifest = _publish(unfinished, manifest, waiting)
                waiting = []
            waiting.append(episode)
        manifest = _publish(unfinished, manifest, waiting)
        if not manifest.complete:
            raise UserError(
                f"{source} holds {manifest.steps} of the {recipe.num_data} steps that were "
                "exported: episodes are missing. Export it again."
            )
        if target.exists():
            with locked(target):  # nobody begins another dataset there
                _check_free(target)
                remove(target)


def _check_free(folder: Path) -> None:
    with writing(folder):
        if folder.is_mount():
            raise UserError(
                f"{folder} is the root of a disk, and a dataset is written beside its `folder` "
                "first. Name a folder in it."
            )
        if folder.exists() and not is_free(folder):
            raise UserError(f"{folder} is not empty. Name another `folder`.")


def _columns(episode: Episode) -> tuple[dict[str, Column], dict[str, Column]]:
    columns = {name: Column(v.dtype.name, v.shape[1:]) for name, v in episode.items()}
    ends = {name: columns.pop(name) for name in (SEED, *FINALS.values()) if name in columns}
    return columns, ends


def _publish(folder: Path, manifest: Manifest, episodes: list[Episode]) -> Manifest:
    arrays: dict[str, np.ndarray] = {}
    for name, column in {**manifest.step_columns, **manifest.episode_columns}.items():
        parts = [episode[name] for episode in episodes if name in episode]
        if len(parts) < len(episodes) or any(part.shape[1:] != column.shape for part in parts):
            raise UserError(f"Not all episodes have {name} of shape {column.shape}.")
        arrays[name] = np.concatenate(parts)
    lengths = np.array([len(episode[REWARD]) for episode in episodes])
    return publish_shard(folder, manifest, arrays, lengths, _NO_ROOM)


def with_origin(recipe: Recipe, source: str, command: str) -> Recipe:
    """Return the recipe of a dataset that was changed on the way, so that it is not repaired.

    Args:
        command: see `foreign_recipe`.
    """
    teacher = {**recipe.teacher, IMPORTED_FROM: source, IMPORTED_BY: command}
    return dataclasses.replace(recipe, teacher=teacher)
