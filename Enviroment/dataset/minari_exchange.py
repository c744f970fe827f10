"""Export teacher datasets to Minari's format and import them, without loss.

Observations are dicts of `frame`, uint8 (channels, H, W), not stacked (missing for tasks without a
camera), and `state` (missing for games). Actions are the executed ones. The teacher's labels are
infos, one entry per step. No other module needs Minari.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Common.files.durable import publishing, writing
from Enviroment.dataset.collect import check_folder
from Enviroment.dataset.format import (
    ACTION,
    BEHAVIOUR_ACTION,
    DISTRIBUTION,
    FINALS,
    IMPORT,
    REWARD,
    SEED,
    TERMINATED,
    TRUNCATED,
    VALUE,
    Recipe,
    described_task,
)
from Enviroment.dataset.imported import check_episode, foreign_recipe, write_episodes
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import FRAME, STATE
from Enviroment.simulation.making import make_simulation
from Enviroment.suites.envpool_games import action_count
from Enviroment.tasks import Task

INSTALL = "pip install -e '.[minari]'"
_RECIPE = "vision_distillation_recipe"  # key of Minari's metadata
_METADATA = "metadata.json"  # in the folder of a Minari dataset
_UNREADABLE = (ValueError, OSError, KeyError, AssertionError)  # raised by Minari
_NOT_INFOS = (FRAME, STATE, REWARD, TERMINATED, TRUNCATED, BEHAVIOUR_ACTION)


def export_minari(dataset: TeacherDataset, minari_id: str, root: Path | str | None = None) -> Path:
    """Write a Minari dataset, episode by episode.

    Args:
        minari_id: name of the dataset, such as `Pusher/teacher-v0`.
        root: folder of Minari's datasets; default: Minari's own.

    Returns: the folder that `minari.MinariDataset` opens.

    Raises:
        UserError: Minari is not installed, the name is not valid, or the dataset exists already.
    """
    minari = _minari()
    _check_id(minari_id)
    target = _data_path(minari_id, root)
    if target.exists():
        raise UserError(f"A Minari dataset exists at {target}. Give another name.")
    observation_space, action_space = _spaces(dataset)
    with writing(target, "Free space, or give `root`."), publishing(target) as unfinished:
        storage = _storage().new(
            unfinished,
            observation_space=observation_space,
            action_space=action_space,
            jpeg_encoding=False,  # Minari's default loses detail, and fails on one channel
        )
        metadata = {
            "dataset_id": minari_id,
            "minari_version": minari.__version__,
            "algorithm_name": "teacher",
            _RECIPE: dataclasses.asdict(dataset.manifest.recipe),
        }
        storage.update_metadata(metadata)
        storage.update_episodes(_buffers(dataset))
    return target


def _spaces(dataset: TeacherDataset) -> tuple[spaces.Dict, spaces.Space]:
    """Return the spaces of observations (single frames and states, if any) and actions."""
    columns, task = dataset.manifest.step_columns, dataset.task
    groups: dict[str, spaces.Space] = {}
    if FRAME in columns:
        groups[FRAME] = spaces.Box(0, 255, columns[FRAME].shape, np.uint8)
    if STATE in columns:
        groups[STATE] = spaces.Box(-np.inf, np.inf, columns[STATE].shape, np.float32)
    if task.is_game:
        return spaces.Dict(groups), spaces.Discrete(action_count(task))
    with contextlib.closing(make_simulation(task)) as probe:
        return spaces.Dict(groups), probe.action_space


def _buffers(dataset: TeacherDataset) -> Iterator[Any]:
    """Yield each episode in Minari's form; T steps have T + 1 observations."""
    buffer = import_module("minari.data_collector.episode_buffer").EpisodeBuffer
    episode = 0
    for shard, arrays in dataset.shards():
        start = 0
        done = arrays.get(BEHAVIOUR_ACTION, arrays[ACTION])
        for place, length in enumerate(dataset.manifest.shards[shard].lengths):
            steps = slice(start, start + length)
            seed = int(arrays[SEED][place])
            yield buffer(
                id=episode,
                seed=seed if seed >= 0 else None,
                observations={
                    group: np.concatenate([arrays[group][steps], arrays[final][[place]]])
                    for group, final in FINALS.items()
                    if group in arrays
                },
                actions=done[steps],
                rewards=arrays[REWARD][steps],
                terminations=arrays[TERMINATED][steps],
                truncations=arrays[TRUNCATED][steps],
                infos={
                    name: arrays[name][steps]
                    for name in dataset.manifest.step_columns
                    if name not in _NOT_INFOS
                },
            )
            episode, start = episode + 1, start + length


def import_minari(
    source: str, task: Task, folder: Path | str, root: Path | str | None = None
) -> Path:
    """Import a Minari dataset into a new teacher dataset. Exported ones are restored bit-for-bit.

    A dataset of another origin needs observations `frame` (except for tasks without a camera) and
    `state` (except for games) of the task's shapes. Its actions count as the teacher's, unless its
    infos hold `action`; `value` and `distribution.*` are imported if present. Numbers are kept as
    float32, discrete actions as int64. An unfinished episode counts as truncated.

    Args:
        source: Minari's name of an installed dataset, or its folder.
        task: the task of the dataset.
        folder: a new or empty folder.
        root: folder of Minari's datasets; default: Minari's own.

    Returns: `folder`.

    Raises:
        UserError: the dataset cannot be read, or does not fit. The message names the episode.
            `folder` is then as it was.
    """
    folder = Path(folder)
    check_folder(folder)
    path, storage = _open(source, root)
    try:
        dataset = _minari().MinariDataset(path)
        metadata = list(storage.get_episode_metadata(dataset.episode_indices))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if dataset.total_steps < 1:
        raise UserError(f"The Minari dataset at {path} holds no steps.")
    lengths = [int(episode["total_steps"]) for episode in metadata]
    recipe = _recipe(storage.metadata.get(_RECIPE), source, task, lengths)
    # Minari keeps actions of MultiBinary as bytes, so their own type does not tell.
    kind = np.float32 if isinstance(dataset.action_space, spaces.Box) else np.int64
    episodes = _episodes(storage, task, kind, range(len(lengths)))
    write_episodes(folder, recipe, task, path, episodes)
    return folder


def exported_task(source: str, root: Path | str | None = None) -> Task | None:
    """Return the task of a dataset that this toolkit exported; None if it has another origin.

    Raises:
        UserError: the dataset cannot be read.
    """
    path, storage = _open(source, root)
    kept = storage.metadata.get(_RECIPE)
    if kept is None:
        return None
    task = kept.get("task") if isinstance(kept, dict) else None
    return described_task(path / _METADATA, task if isinstance(task, dict) else {})


def _open(source: str, root: Path | str | None) -> tuple[Path, Any]:
    """Return the folder of a Minari dataset, and Minari's reader of it."""
    _minari()
    places = (Path(source), Path(source) / "data")
    path = next((place.absolute() for place in places if (place / _METADATA).is_file()), None)
    if path is None:
        _check_id(source)
        path = _data_path(source, root)
    try:
        return path, _storage().read(path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"The Minari dataset at {path} cannot be read: {error}")


def _recipe(kept: Any, source: str, task: Task, lengths: list[int]) -> Recipe:
    """Return the recipe stored by an export, or one made up for a dataset of another origin."""
    if kept is not None:
        try:
            return Recipe(**kept)
        except TypeError as error:
            raise UserError(f"{source} has no recipe of this version: {error}") from error
    return foreign_recipe(source, IMPORT, task, lengths)


def _episodes(
    storage: Any, task: Task, action_type: type[np.generic], indices: range
) -> Iterator[dict[str, np.ndarray]]:
    """Yield each episode as the columns of `TeacherDataset`."""
    for index in indices:
        try:
            (data,) = storage.get_episodes([index])
            (metadata,) = storage.get_episode_metadata([index])  # the only place of the seed
            episode = _episode(data, metadata.get("seed"), task, action_type)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"Episode {index} of {storage.data_path} does not fit {task.name}: {error}"
            ) from error
        yield episode


def _episode(
    data: Mapping[str, Any], seed: int | None, task: Task, action_type: type[np.generic]
) -> dict[str, np.ndarray]:
    seen = {FRAME: np.asarray(data["observations"][FRAME])} if task.has_frames else {}
    if task.has_state:
        seen[STATE] = np.asarray(data["observations"][STATE], np.float32)
    actions = np.asarray(data["actions"], action_type)
    infos = data.get("infos") or {}
    labels = {
        name: np.asarray(values, action_type if name == ACTION else np.float32)
        for name, values in infos.items()
        if name in (ACTION, VALUE) or name.startswith(DISTRIBUTION)
    }
    terminated = np.asarray(data["terminations"], bool)
    truncated = np.asarray(data["truncations"], bool).copy()
    truncated[-1] |= not terminated[-1]
    steps = {
        **{group: values[:-1] for group, values in seen.items()},
        ACTION: actions,
        BEHAVIOUR_ACTION: actions,
        REWARD: np.asarray(data["rewards"], np.float32),
        TERMINATED: terminated,
        TRUNCATED: truncated,
        **labels,
    }
    check_episode(steps, task, len(terminated))
    ends = {
        SEED: np.array([-1 if seed is None else seed], np.int64),
        **{FINALS[group]: values[-1:] for group, values in seen.items()},
    }
    return steps | ends


def _minari() -> Any:
    try:
        import_module("h5py")
        return import_module("minari")
    except ImportError as error:
        raise UserError(
            f"This needs Minari, which is not installed. `{INSTALL}` installs it."
        ) from error


def _storage() -> Any:
    return import_module("minari.dataset.minari_storage").MinariStorage


def _check_id(minari_id: str) -> None:
    try:
        import_module("minari.dataset.minari_dataset").parse_dataset_id(minari_id)
    except (ValueError, TypeError):  # it raises either for names without a version
        raise UserError(
            f"{minari_id!r} is not a valid name of a Minari dataset, such as Pusher/teacher-v0."
        ) from None


def _data_path(minari_id: str, root: Path | str | None) -> Path:
    place = import_module("minari.storage").get_dataset_path() if root is None else Path(root)
    # Minari joins a relative path to itself.
    return place.absolute() / minari_id / "data"
