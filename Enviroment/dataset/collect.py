"""Collect teacher datasets: the teacher acts, and every step is recorded.

The content of a shard depends on the recipe only (see `recording`). The number of environments, a
restart, or collecting a shard by itself do not change a single bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Common.files.durable import partial_path
from Common.files.locks import LOCK_FILE, check_in_place, locked
from Common.names import check_utf8
from Enviroment import seeds
from Enviroment.dataset.behaviour_noise import check_noise
from Enviroment.dataset.format import (
    ACTION,
    BEHAVIOUR_ACTION,
    FINALS,
    IMPORTED_FROM,
    MANIFEST,
    REWARD,
    SEED,
    SHARDS,
    TERMINATED,
    TRUNCATED,
    Manifest,
    Recipe,
    ShardEntry,
    describe_task,
    described_task,
    frame_column,
    same_teacher,
    shard_name,
)
from Enviroment.dataset.recording import Labeller, label_rows, record
from Enviroment.dataset.shards import RESUME, Column, shard_problem, write_shard
from Enviroment.dataset.verify import repair_hint
from Enviroment.episode_env import EpisodeVecEnv
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FRAME, STATE
from Enviroment.simulation.making import LONGEST_EPISODE, time_limit
from Enviroment.simulation.workers import WorkerKind
from Enviroment.suites.envpool_games import game_time_limit
from Enviroment.tasks import Task

_SHARD_BYTES = 41_000_000  # of frames: 5000 steps of 64x128 in gray
_SHARD_STEPS = 5_000  # without frames
# Files that a killed process may leave of a dataset that had not begun.
_NOTHING = {LOCK_FILE, partial_path(Path(MANIFEST)).name}
_PACKAGES = ("gymnasium", "mujoco", "numpy", "torch")
_GAME_PACKAGES = ("envpool", "numpy", "torch")
# Episodes per shard. Games end with lives and levels, long before their time limit: about 100 MB.
_OPEN_EPISODES = 10  # of environments that end their episodes themselves
_GAME_EPISODES = {"atari": 10, "procgen": 30}

Progress = Callable[[int, int], None]  # env steps on disk, and in total


def collect(
    task: Task,
    labeller: Labeller,
    folder: Path | str,
    num_data: int,
    *,
    behaviour_noise: float = 0.0,
    resume: bool = False,
    n_envs: int = 10,
    workers: WorkerKind = "thread",
    n_workers: int | None = None,
    first_seed: int = seeds.DATASET.start,
    progress: Progress | None = None,
) -> Path:
    """Collect complete episodes until they hold `num_data` steps.

    Args:
        folder: folder of the dataset; new or empty, unless `resume`.
        behaviour_noise: standard deviation of Gaussian noise on executed actions, in half ranges
            of each action; in games the share of random actions. Labels stay the teacher's.
        resume: continue an unfinished dataset. Complete shards are kept.
        n_envs: number of parallel environments; ideally a divisor of the episodes per shard.
        progress: called after each shard.

    Returns: `folder`.

    Raises:
        UserError: before the first step for invalid arguments; later for a full disk. Complete
            shards are kept, and `resume` continues from them.
    """
    folder = Path(folder)
    recipe = _recipe(task, labeller, num_data, behaviour_noise, first_seed)
    needed = -(-num_data // recipe.max_steps)
    _check_seeds(recipe, needed)
    check_folder(folder)
    with locked(folder):
        manifest = _find_begun(folder, recipe, resume)
        n_envs = min(n_envs, recipe.episodes_per_shard)
        # Without a time limit, as in games, the lengths of episodes are not known beforehand.
        if not task.is_game and recipe.max_steps < LONGEST_EPISODE:
            n_envs = min(n_envs, needed)
        with closing(_make_env(task, labeller, n_envs, workers, n_workers)) as env:
            labeller.check_fits(task.name, env.observation_space, env.action_space)
            check_noise(env.action_space, behaviour_noise)
            manifest = manifest or _first_manifest(recipe, env, labeller)
            _check_room(folder, manifest)
            for leftover in folder.glob(partial_path(folder / SHARDS).name):
                leftover.unlink()
            manifest.write(folder)
            while not manifest.complete:
                manifest = _add_shard(folder, manifest, env, labeller)
                if progress is not None:
                    progress(manifest.steps, max(num_data, manifest.steps))
    return folder


def is_complete(folder: Path | str) -> bool:
    """Return whether a folder holds a complete dataset, by its manifest. Do not read its shards.

    Raises:
        UserError: the manifest cannot be used.
    """
    folder = Path(folder)
    return (folder / MANIFEST).is_file() and Manifest.read(folder).complete


def repair(
    folder: Path | str, labeller: Labeller, indices: list[int], task: Task | None = None
) -> None:
    """Collect shards again, and replace each if it matches the manifest.

    Args:
        task: its task, with permissions of `with_package`; default: as its manifest describes it.

    Raises:
        UserError: the teacher differs, the dataset was imported, or a new shard is not the same
            bit-for-bit. The folder is then unchanged.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    recipe = manifest.recipe
    if IMPORTED_FROM in recipe.teacher:
        raise UserError(f"{folder} was imported. {repair_hint(folder, manifest)}")
    if not same_teacher(recipe.teacher, labeller.identity):
        raise UserError(
            f"{folder} was collected with another teacher, or with other labelling settings:\n"
            f"  dataset: {recipe.teacher}\n  given:   {dict(labeller.identity)}"
        )
    task = task or described_task(folder / MANIFEST, recipe.task)
    with locked(folder):
        for index in indices:
            entry = manifest.shards[index]
            episodes = range(entry.first_episode, entry.first_episode + len(entry.lengths))
            n_envs = min(10, len(episodes))
            with closing(_make_env(task, labeller, n_envs, "thread", None)) as env:
                arrays, lengths = record(env, labeller, manifest, episodes)
            again = replace(entry, lengths=tuple(lengths.tolist()))
            layout = manifest.layout(index, again)
            write_shard(folder / shard_name(index), layout, arrays, sha256=entry.sha256)


def _recipe(
    task: Task, labeller: Labeller, num_data: int, behaviour_noise: float, first_seed: int
) -> Recipe:
    if num_data < 1:
        raise UserError(f"`num_data` {num_data} must be at least 1.")
    limit = game_time_limit(task) if task.is_game else time_limit(task)
    max_steps = limit or LONGEST_EPISODE
    return Recipe(
        task=describe_task(task, labels_frames=FRAME in labeller.groups),
        teacher=dict(labeller.identity),
        num_data=num_data,
        behaviour_noise=float(behaviour_noise),
        first_seed=first_seed,
        max_steps=max_steps,
        episodes_per_shard=episodes_per_shard(task, max_steps),
        versions={name: version(name) for name in (_GAME_PACKAGES if task.is_game else _PACKAGES)},
    )


def episodes_per_shard(task: Task, max_steps: int) -> int:
    """Return how many episodes of at most `max_steps` fit into a shard."""
    if task.is_game:
        return _GAME_EPISODES[task.suite]
    if max_steps == LONGEST_EPISODE:
        return _OPEN_EPISODES
    steps = _SHARD_BYTES // frame_column(task).nbytes if task.has_frames else _SHARD_STEPS
    episodes = max(1, steps // max_steps)
    # A multiple of ten, so that ten environments have equal work.
    return episodes - episodes % 10 if episodes > 10 else episodes


def _check_seeds(recipe: Recipe, n_episodes: int) -> None:
    last = recipe.first_seed + n_episodes - 1
    if recipe.first_seed not in seeds.DATASET or last not in seeds.DATASET:
        raise UserError(
            f"{n_episodes} episodes from seed {recipe.first_seed} on exceed the seeds of datasets, "
            f"{seeds.DATASET.start} to {seeds.DATASET.stop - 1}. Request less data."
        )


def check_folder(folder: Path) -> None:
    """Raise UserError if a dataset's folder is a file, or its name is not UTF-8."""
    check_utf8(str(folder.absolute()), "The dataset's folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder for the dataset (`folder`).")


def is_free(folder: Path) -> bool:
    """Return whether a locked folder is free for a new dataset."""
    return {path.name for path in folder.iterdir()} <= _NOTHING


def _find_begun(folder: Path, recipe: Recipe, resume: bool) -> Manifest | None:
    """Return the manifest of an unfinished dataset in the folder, or None. Change nothing."""
    if is_free(folder):
        return None
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is not empty and holds no dataset. Name another `folder`.")
    if not resume:
        raise UserError(
            f"{folder} holds a dataset already. Continue it with `resume`, or name another "
            "`folder`."
        )
    manifest = Manifest.read(folder)
    old, new = vars(manifest.recipe), vars(recipe)
    if same_teacher(old["teacher"], new["teacher"]):
        new = {**new, "teacher": old["teacher"]}
    different = [
        f"  {name}: {old[name]}, now {new[name]}" for name in old if old[name] != new[name]
    ]
    if different:
        raise UserError(
            f"{folder} was begun with other settings, so `resume` cannot continue it:\n"
            + "\n".join(different)
        )
    for index in range(len(manifest.shards)):
        problem = shard_problem(folder / shard_name(index), manifest.layout(index))
        if problem is not None:
            raise UserError(f"{problem} {repair_hint(folder, manifest)}")
    return manifest


def _check_room(folder: Path, manifest: Manifest) -> None:
    step = sum(column.nbytes for column in manifest.step_columns.values())
    wanted = step * (manifest.recipe.num_data - manifest.steps)
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise UserError(
            f"The dataset needs {wanted / 1e6:.0f} MB more, and {place} has {free / 1e6:.0f} MB "
            "free. Free space, or name another `folder`."
        )


def _make_env(
    task: Task, labeller: Labeller, n_envs: int, workers: WorkerKind, n_workers: int | None
) -> EpisodeVecEnv:
    if not task.has_frames:
        return make_state_env(task, n_envs, seeds.DATASET.start, grouped=True)
    if FRAME not in labeller.groups:
        task = replace(task, stack=1, frame_interval=1)  # stacks are built on reading
    return make_env(task, n_envs, seeds.DATASET.start, workers=workers, n_workers=n_workers)


def _first_manifest(recipe: Recipe, env: EpisodeVecEnv, labeller: Labeller) -> Manifest:
    """Return the manifest before the first shard, with the columns of all shards."""
    space = env.observation_space
    assert isinstance(space, spaces.Dict)
    nothing = {
        group: np.zeros((label_rows(labeller), *(space[group].shape or ())), space[group].dtype)
        for group in labeller.groups
    }
    groups = {FRAME: frame_column(env.task)} if env.task.has_frames else {}
    if STATE in space.spaces:  # games have none
        groups[STATE] = Column("float32", space[STATE].shape or ())
    steps = {
        **groups,
        **{name: Column(v.dtype.name, v.shape[1:]) for name, v in labeller(nothing).items()},
        REWARD: Column("float32", ()),
        TERMINATED: Column("bool", ()),
        TRUNCATED: Column("bool", ()),
    }
    if recipe.behaviour_noise > 0:
        steps[BEHAVIOUR_ACTION] = steps[ACTION]
    finals = {FINALS[group]: column for group, column in groups.items()}
    return Manifest(recipe, steps, {SEED: Column("int64", ()), **finals})


def _add_shard(
    folder: Path, manifest: Manifest, env: EpisodeVecEnv, labeller: Labeller
) -> Manifest:
    """Collect and publish the next shard, and list it in the manifest on disk."""
    recipe, first = manifest.recipe, manifest.episodes
    wanted = recipe.num_data - manifest.steps  # env steps
    parts, lengths = [], np.empty(0, np.int64)
    while len(lengths) < recipe.episodes_per_shard and lengths.sum() < wanted:
        # No more than needed if all episodes have full length; few rounds if they do not.
        count = max(-(-(wanted - int(lengths.sum())) // recipe.max_steps), env.num_envs)
        start = len(lengths)
        stop = min(start + count, recipe.episodes_per_shard)
        _check_seeds(recipe, first + stop)
        part, played = record(env, labeller, manifest, range(first + start, first + stop))
        parts.append(part)
        lengths = np.concatenate([lengths, played])
    # Keep the fewest episodes that suffice: drop those that `n_envs` added beyond.
    episodes = min(len(lengths), int(np.searchsorted(lengths.cumsum(), wanted)) + 1)
    lengths = lengths[:episodes]
    sizes = dict.fromkeys(manifest.step_columns, int(lengths.sum()))
    sizes |= dict.fromkeys(manifest.episode_columns, episodes)
    arrays = {name: _joined([part[name] for part in parts])[:n] for name, n in sizes.items()}
    check_in_place(folder)
    return publish_shard(folder, manifest, arrays, lengths)


def publish_shard(
    folder: Path,
    manifest: Manifest,
    arrays: Mapping[str, np.ndarray],
    lengths: np.ndarray,
    advice: str = RESUME,
) -> Manifest:
    """Write the next shard, then the manifest that lists it.

    Args:
        advice: what to do if it cannot be written.

    Raises:
        UserError: it cannot be written. Earlier shards stay complete.
    """
    index = len(manifest.shards)
    entry = ShardEntry(manifest.episodes, tuple(lengths.tolist()), "")
    layout = manifest.layout(index, entry)
    sha256 = write_shard(folder / shard_name(index), layout, arrays, advice=advice)
    manifest = manifest.with_shard(replace(entry, sha256=sha256))
    manifest.write(folder, advice)
    return manifest


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
