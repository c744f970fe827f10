"""Play episodes with the teacher and record every step.

The record of an episode depends on its seed only, not on the other environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.dataset.behaviour_noise import make_noise
from Enviroment.dataset.format import (
    ACTION,
    BEHAVIOUR_ACTION,
    FINALS,
    REWARD,
    SEED,
    TERMINATED,
    TRUNCATED,
    Manifest,
)
from Enviroment.dataset.shards import Column
from Enviroment.episode_env import EpisodeVecEnv
from Enviroment.observations import FRAME
from Enviroment.simulation.making import LONGEST_EPISODE

# Batch sizes of the teacher; other values change datasets. Networks on frames are slow, so their
# batch is the usual number of environments.
LABEL_ROWS, FRAME_LABEL_ROWS = 32, 10
_OPEN_EPISODE = 10_000  # env steps: no episode without a time limit is refused for fewer

Obs = Mapping[str, np.ndarray]  # groups, each `(n, ...)`


class Labeller(Protocol):
    """The interface of the teacher for collection (`Models.teacher.labels.TeacherLabeller`)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Identity of the teacher, and settings of its labels, as plain JSON."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Observation groups that it reads; `frame` means stacks."""
        ...

    def __call__(self, observations: Obs) -> dict[str, np.ndarray]:
        """Return the labels of raw observations, groups of `(label_rows, ...)`, row by row.

        `action` (in the environment's units, or int64 indices), and in float32
        `distribution.<parameter>` and, if the teacher has a critic, `value`. An observation gives
        the same bits in the same row, whatever the other rows hold.
        """
        ...

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Raise `UserError` unless this is a teacher of that task."""
        ...


def label_rows(labeller: Labeller) -> int:
    """Return the batch size of the teacher."""
    return FRAME_LABEL_ROWS if FRAME in labeller.groups else LABEL_ROWS


def ask(labeller: Labeller, observations: Obs, episodes: np.ndarray) -> dict[str, np.ndarray]:
    """Return labels that do not depend on the other episodes in the batch, bit-for-bit.

    Matrix products round differently for other batch sizes. The teacher therefore always gets
    `label_rows` observations, and an episode always has the same row. If two episodes share a row,
    the teacher is called again.

    Args:
        observations: groups `(n, ...)`, including those that the teacher reads.
        episodes: (n,), numbers of the episodes.
    """
    n_rows = label_rows(labeller)
    rows = episodes % n_rows
    labels: dict[str, np.ndarray] = {}
    waiting = np.arange(len(rows))
    while len(waiting):
        _, first = np.unique(rows[waiting], return_index=True)
        asked = waiting[first]
        batch: dict[str, np.ndarray] = {}
        for group in labeller.groups:
            values = observations[group]
            batch[group] = np.zeros((n_rows, *values.shape[1:]), values.dtype)
            batch[group][rows[asked]] = values[asked]
        for name, answer in labeller(batch).items():
            if name not in labels:
                labels[name] = np.empty((len(rows), *answer.shape[1:]), answer.dtype)
            labels[name][asked] = answer[rows[asked]]
        waiting = np.delete(waiting, first)
    return labels


def record(
    env: EpisodeVecEnv, labeller: Labeller, manifest: Manifest, episodes: range
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Play episodes by number, and record them. Of stacked frames, keep the newest.

    Returns: The manifest's columns, with the steps of the episodes one after another, and the
        lengths of the episodes in env steps, `(len(episodes),)`.

    Raises:
        UserError: the simulation diverged. An episode cannot be left out: a dataset always holds
            the same episodes.
    """
    recipe, n = manifest.recipe, len(episodes)
    steps = _Steps(manifest.step_columns)
    ends = {name: np.empty((n, *c.shape), c.dtype) for name, c in manifest.episode_columns.items()}
    first_seed = recipe.first_seed + episodes.start
    ends[SEED][:] = first_seed + np.arange(n)
    lengths = np.zeros(n, np.int64)
    noise = make_noise(env.action_space, env.num_envs, recipe.behaviour_noise, recipe.max_steps)

    place = np.arange(env.num_envs)  # index in `episodes` of each environment's episode
    age = np.zeros(env.num_envs, np.int64)  # env steps
    noise.begin(place, first_seed + place)
    env.seed(first_seed)
    obs: Any = env.reset()
    while (playing := place < n).any():
        now = {**_stored(obs, manifest), **ask(labeller, obs, episodes.start + place)}
        now[BEHAVIOUR_ACTION] = noise.added(now[ACTION], age)
        env.step_async(now[BEHAVIOUR_ACTION])
        steps.add(now, playing)  # while the workers step and render
        obs, rewards, dones, infos = env.step_wait()
        age += 1
        _check_lengths(manifest, int(age[playing].max()))
        timed_out = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        came = {REWARD: rewards, TRUNCATED: timed_out, TERMINATED: dones & ~timed_out}
        steps.add(came, playing)
        steps.belong_to(place[playing])
        for i in np.flatnonzero(dones & playing):
            if infos[i].get("diverged", False):
                raise UserError(
                    f"The simulation diverged in the episode of seed {first_seed + place[i]}, so "
                    "it cannot be recorded. Collect with less `behaviour_noise`, or with another "
                    "teacher. Complete shards are kept."
                )
            lengths[place[i]] = age[i]
            for group, value in _stored(infos[i]["terminal_observation"], manifest).items():
                ends[FINALS[group]][place[i]] = value
        ended = np.flatnonzero(dones)
        place[ended] += env.num_envs
        age[ended] = 0
        noise.begin(ended, first_seed + place[ended])
    return steps.end_to_end() | ends, lengths


def _check_lengths(manifest: Manifest, longest: int) -> None:
    """Raise UserError if an episode that no time limit ends is longer than the dataset asked for.

    Args:
        longest: env steps of the longest running episode.
    """
    recipe = manifest.recipe
    most = max(recipe.num_data, _OPEN_EPISODE)
    if recipe.max_steps == LONGEST_EPISODE and longest > most:
        raise UserError(
            f"An episode of {recipe.task['env_id']} has not ended after {most:,} env steps, and "
            "the environment has no time limit. Give `max_episode_steps`."
        )


def _stored(obs: Obs, manifest: Manifest) -> dict[str, np.ndarray]:
    """Return the stored groups of one or several observations; of stacks, the newest frame."""
    columns = manifest.step_columns
    groups = {group: obs[group] for group in FINALS if group in columns}
    if FRAME in groups:
        # (..., stack * channels, H, W) -> (..., channels, H, W)
        groups[FRAME] = groups[FRAME][..., -columns[FRAME].shape[0] :, :, :]
    return groups


class _Steps:
    """Columns of the steps of episodes that are played in parallel."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
        self._places: list[np.ndarray] = []

    def add(self, values: Mapping[str, np.ndarray], playing: np.ndarray) -> None:
        """Add columns of a step of all environments. Ignore columns that are not recorded.

        Args:
            values: each (n_envs, ...).
            playing: bool (n_envs,), the environments to record.
        """
        for name in values.keys() & self._parts.keys():
            self._parts[name].append(values[name][playing])

    def belong_to(self, places: np.ndarray) -> None:
        """Set the episodes of the completed step, int64 (n,)."""
        self._places.append(places)

    def end_to_end(self) -> dict[str, np.ndarray]:
        """Return each column `(steps, ...)`, one episode after another, and clear the parts."""
        order = np.argsort(np.concatenate(self._places), kind="stable")
        rows = np.empty_like(order)
        rows[order] = np.arange(len(order))
        rows = np.split(rows, np.cumsum([len(places) for places in self._places])[:-1])
        arrays = {}
        for name, column in self._columns.items():
            array = arrays[name] = np.empty((len(order), *column.shape), column.dtype)
            for at, part in zip(rows, self._parts.pop(name), strict=True):
                array[at] = part
        return arrays
