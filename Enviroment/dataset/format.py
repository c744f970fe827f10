"""The manifest of a teacher dataset: its recipe, the content of its shards, and their SHA-256.

A dataset is a folder of `manifest.json` and `shard_00000.safetensors` and so on. A shard holds a
fixed number of complete episodes (the last one fewer), so each can be collected by itself. Nothing
in the manifest depends on when or how fast it was collected: equal recipes give equal folders.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.files.typed_json import typed, typed_fields
from Enviroment.cameras import describe_cameras
from Enviroment.custom import CUSTOM_TASK, LOOKS, describe_custom, describe_looks, task_of
from Enviroment.dataset.shards import RESUME, Column, ShardLayout, publish
from Enviroment.observations import FRAME, STATE, frame_channels
from Enviroment.task import Task
from Enviroment.tasks import script_of

FORMAT = 1
KIND = "teacher_dataset"
MANIFEST = "manifest.json"
SHARDS = "shard_*.safetensors"
_MAX_MANIFEST = 2**28  # bytes

# Columns with an entry per step ...
ACTION = "action"  # the teacher's, deterministic, in the environment's units or an index
BEHAVIOUR_ACTION = "behaviour_action"  # the executed action; stored only if it differs
REWARD, TERMINATED, TRUNCATED = "reward", "terminated", "truncated"
VALUE = "value"  # the teacher's; missing if it has no critic
DISTRIBUTION = "distribution."  # prefix of the parameters of the teacher's distribution
# ... and an entry per episode.
SEED = "seed"  # seed of the episode's reset; -1: unknown (imported)
FINAL_FRAME, FINAL_STATE = "final_frame", "final_state"  # after the last step
FINALS = {FRAME: FINAL_FRAME, STATE: FINAL_STATE}  # for each stored observation group

# In a recipe's `teacher`: hash of everything that decides its labels; missing in older datasets.
IDENTITY = "identity"
IMPORTED_FROM = "imported_from"  # in a recipe's `teacher`, if nothing else is known of it
IMPORTED_BY = "imported_by"  # beside it: the command; missing in older datasets
IMPORT, IMPORT_LEROBOT = IMPORT_COMMANDS = ("import", "import-lerobot")


@dataclass(frozen=True)
class Recipe:
    """All settings that decide the content of a dataset, as plain JSON."""

    task: dict[str, Any]  # see `describe_task`
    teacher: dict[str, Any]  # identity of the teacher, and settings of its labels
    num_data: int  # minimum env steps; episodes are complete
    behaviour_noise: float  # deviation, in half ranges of an action; in games a share of steps
    first_seed: int  # episode e is reset with `first_seed + e`
    max_steps: int  # maximum env steps per episode
    episodes_per_shard: int
    versions: dict[str, str]  # of the packages that simulate and render

    def __post_init__(self) -> None:
        for name in ("num_data", "max_steps", "episodes_per_shard"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} {value!r} must be a whole number above 0.")
        if not 0 <= self.behaviour_noise < math.inf:
            raise UserError(f"`behaviour_noise` {self.behaviour_noise} must be 0 or more.")

    def digest(self) -> str:
        """Return the SHA-256 of the recipe. Every shard stores it to identify its dataset."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ShardEntry:
    """A complete shard."""

    first_episode: int
    lengths: tuple[int, ...]  # env steps of each episode
    sha256: str  # of the file

    @property
    def steps(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True)
class _ListedShard:
    """A shard as listed in the file."""

    name: str
    first_episode: int
    lengths: tuple[int, ...]
    sha256: str
    steps: int


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    recipe: Recipe
    step_columns: Mapping[str, Column]
    episode_columns: Mapping[str, Column]
    shards: tuple[ShardEntry, ...] = ()

    @property
    def steps(self) -> int:
        return sum(shard.steps for shard in self.shards)

    @property
    def episodes(self) -> int:
        return sum(len(shard.lengths) for shard in self.shards)

    @property
    def complete(self) -> bool:
        return self.steps >= self.recipe.num_data

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(self.layout(index).nbytes for index in range(len(self.shards)))

    def layout(self, index: int, entry: ShardEntry | None = None) -> ShardLayout:
        """Return the layout of shard `index` by its entry (default: the one in the manifest)."""
        entry = entry or self.shards[index]
        arrays = {name: c.times(entry.steps) for name, c in self.step_columns.items()}
        per_episode = self.episode_columns.items()
        arrays |= {name: c.times(len(entry.lengths)) for name, c in per_episode}
        labels = {"dataset": self.recipe.digest(), "first_episode": str(entry.first_episode)}
        return ShardLayout(arrays, labels)

    def with_shard(self, entry: ShardEntry) -> Manifest:
        return dataclasses.replace(self, shards=(*self.shards, entry))

    def write(self, folder: Path, advice: str = RESUME) -> None:
        """Replace the folder's manifest.

        Args:
            advice: what to do if it cannot be written.

        Raises:
            UserError: it cannot be written.
        """
        data = {
            "format": FORMAT,
            "kind": KIND,
            "complete": self.complete,
            "steps": self.steps,
            "episodes": self.episodes,
            "recipe": dataclasses.asdict(self.recipe),
            "step_columns": _describe_columns(self.step_columns),
            "episode_columns": _describe_columns(self.episode_columns),
            "shards": [
                {"name": shard_name(index), **dataclasses.asdict(entry), "steps": entry.steps}
                for index, entry in enumerate(self.shards)
            ],
        }
        content = (json.dumps(data, allow_nan=False) + "\n").encode()
        publish(folder / MANIFEST, [content], advice=advice)

    @classmethod
    def read(cls, folder: Path | str) -> Manifest:
        """Return the folder's manifest after checking its consistency. Do not read the shards.

        Raises:
            UserError: the manifest is missing, invalid or inconsistent.
        """
        folder = Path(folder)
        path = folder / MANIFEST
        try:
            data = read_json(path, _MAX_MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} is not a dataset: it has no {MANIFEST}. `python Distillation/Pusher.py "
                "--C_data --num_data N --output DIR`, or the script of another task, collects one."
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            _refuse(path, f"it is not JSON ({error})")
        if not isinstance(data, dict) or data.get("kind") != KIND:
            _refuse(path, "it does not describe a teacher dataset")
        if data.get("format") != FORMAT:
            _refuse(path, f"it has format {data.get('format')!r}, but this version reads {FORMAT}")
        return _parse(path, data)


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"shard_{index:05d}.safetensors"


def _describe_columns(columns: Mapping[str, Column]) -> dict[str, Any]:
    return {name: dataclasses.asdict(column) for name, column in sorted(columns.items())}


def _parse(path: Path, data: Mapping[str, Any]) -> Manifest:
    try:
        recipe = typed(Recipe, data["recipe"], "recipe")
        columns = [
            typed(dict[str, Column], data[key], key) for key in ("step_columns", "episode_columns")
        ]
        shards = typed(tuple[_ListedShard, ...], data["shards"], "shards")
        totals = (data["steps"], data["episodes"], data["complete"])
    except (KeyError, ValueError, UserError) as error:
        _refuse(path, f"an entry is missing or wrong ({error!r})")
    entries = [ShardEntry(shard.first_episode, shard.lengths, shard.sha256) for shard in shards]
    names = [shard.name for shard in shards]
    steps = [shard.steps for shard in shards]
    manifest = Manifest(recipe, columns[0], columns[1], tuple(entries))
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        _refuse(path, f"it lists {', '.join(doubled)} twice")
    if names != [shard_name(index) for index in range(len(names))]:
        _refuse(path, "its shards are not numbered from 0 without gaps")
    if steps != [entry.steps for entry in entries]:
        _refuse(path, "a shard's lengths do not add up to its steps")
    if totals != (manifest.steps, manifest.episodes, manifest.complete):
        _refuse(path, "its counts do not add up to those of its shards")
    _check_shards(path, manifest)
    return manifest


def _check_shards(path: Path, manifest: Manifest) -> None:
    recipe, first = manifest.recipe, 0
    for index, entry in enumerate(manifest.shards):
        last = manifest.complete and index == len(manifest.shards) - 1
        full = len(entry.lengths) == recipe.episodes_per_shard
        short = last and 0 < len(entry.lengths) < recipe.episodes_per_shard
        if entry.first_episode != first or not (full or short):
            _refuse(path, f"{shard_name(index)} does not hold the expected episodes")
        if not all(1 <= length <= recipe.max_steps for length in entry.lengths):
            _refuse(
                path, f"{shard_name(index)} has an episode longer than {recipe.max_steps} steps"
            )
        first += len(entry.lengths)


def _refuse(path: Path, why: str) -> NoReturn:
    raise UserError(
        f"{path} cannot be used: {why}. Restore it from a copy, or delete {path.parent} and "
        "collect the dataset again."
    )


def same_teacher(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether a recipe's `teacher` is the given one, by the keys that the recipe has."""
    known = {name: given[name] for name in given if name in recorded or name != IDENTITY}
    return dict(recorded) == known


def describe_task(task: Task, *, labels_frames: bool = False) -> dict[str, Any]:
    """Return the settings of a task that decide the content of a dataset.

    Frames are stacked on reading, so stacking is not among them by default.

    Args:
        labels_frames: whether the teacher observes frames, so that its labels depend on stacking.
    """
    stacking = {"stack": task.stack, "frame_interval": task.frame_interval}
    return {
        "name": task.name,
        "env_id": task.env_id,
        "camera": describe_cameras(task.camera),
        "frame_size": list(task.frame_size),
        "grayscale": task.grayscale,
        # Left out without depth, as in the older format.
        **({} if task.depth is None else {"depth": dataclasses.asdict(task.depth)}),
        **(stacking if labels_frames else {}),
        **describe_looks(task),
        **describe_custom(task),
    }


def described_task(path: Path, data: Mapping[str, Any]) -> Task:
    """Return the task that a manifest describes, with its frame size and camera.

    Raises:
        UserError: the name is unknown, or the description is invalid.
    """
    shown = ("env_id", "camera", "frame_size", "grayscale")
    optional = [name for name in ("stack", "frame_interval", "depth", LOOKS) if name in data]
    try:
        values = typed_fields(Task, {name: data[name] for name in (*shown, *optional)})
        task = task_of({**data, "task": data["name"]})
    except (KeyError, ValueError) as error:
        _refuse(path, f"the description of its task is invalid ({error!r})")
    other_id = values["env_id"] != task.env_id
    return dataclasses.replace(task, **values, described=task.described or other_id)


def check_task(folder: Path, manifest: Manifest, task: Task) -> None:
    """Raise UserError for a dataset of another task, camera or frame size, and list them."""
    has = manifest.recipe.task
    wants = describe_task(task, labels_frames="stack" in has)
    if "stack" not in has:
        has, wants = _without_stacking(has), _without_stacking(wants)
    names = dict.fromkeys([*wants, *(name for name in ("depth", LOOKS) if name in has)])
    different = [name for name in names if has.get(name) != wants.get(name)]
    if different:
        lines = [f"  {name}: {has.get(name)}, wanted {wants.get(name)}" for name in different]
        h, w = task.frame_size
        raise UserError(
            f"The dataset {folder} does not match the settings of this task:\n"
            + "\n".join(lines)
            + f"\nGive the flags of its collection, or collect another dataset with `python "
            f"Distillation/{script_of(task)} --C_data --num_data {manifest.recipe.num_data} "
            f"--frame_size {h}x{w} --output DIR` and pass it as `dataset`."
        )


def _without_stacking(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a described task whose own description, if it is a custom one, has no stacking."""
    custom = task.get(CUSTOM_TASK)
    if not isinstance(custom, dict):
        return dict(task)
    kept = {name: custom[name] for name in custom if name not in ("stack", "frame_interval")}
    return {**task, CUSTOM_TASK: kept}


def frame_column(task: Task) -> Column:
    """Return the column of single time steps: (channels, H, W), of all cameras."""
    return Column("uint8", (frame_channels(task), *task.frame_size))
