"""Plays episodes of the teacher and keeps all of every step.

What is recorded of an episode depends on its seed alone, not on what runs beside it.
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

# Observations the teacher is asked about at once; other numbers change datasets. Networks on frames
# are slow, so they are asked about no more than usually play side by side.
LABEL_ROWS, FRAME_LABEL_ROWS = 32, 10

Obs = Mapping[str, np.ndarray]  # groups, each `(n, ...)`


class Labeller(Protocol):
    """The teacher, as collection sees it (`Models.teacher.labels.TeacherLabeller`)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain JSON: which teacher, and how it is asked."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """The observation groups that it reads; of `frame` the stacks."""
        ...

    def __call__(self, observations: Obs) -> dict[str, np.ndarray]:
        """Labels of raw observations, its groups `(label_rows, ...)`, each with as many rows.

        `action` (in the environment's units, or int64 indices), and in float32
        `distribution.<parameter>` and, where the teacher has one, `value`. An observation gives
        the same bits in the same row, whatever the others hold.
        """
        ...

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Raise `UserError` unless this is a teacher of that task."""
        ...


def label_rows(labeller: Labeller) -> int:
    """How many observations the teacher is asked about at once."""
    return FRAME_LABEL_ROWS if FRAME in labeller.groups else LABEL_ROWS


def ask(labeller: Labeller, observations: Obs, episodes: np.ndarray) -> dict[str, np.ndarray]:
    """Labels in some episodes, the same bits whichever others are asked about.

    Matrix products round differently in batches of other sizes. So the teacher is always asked
    about `label_rows` observations, and an episode always has the same row; where two share one,
    the teacher is asked again.

    Args:
        observations: groups `(n, ...)`, those that it reads among them.
        episodes: (n,), their numbers.
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
    """Plays episodes by number. Of stacked frames the newest is kept.

    Returns: The manifest's columns, the steps of each episode after those of the one before, and
        the episodes' lengths in env steps, `(len(episodes),)`.

    Raises:
        UserError: the simulation diverged. An episode cannot be left out: a dataset is the same
            episodes whoever collects it.
    """
    recipe, n = manifest.recipe, len(episodes)
    steps = _Steps(manifest.step_columns)
    ends = {name: np.empty((n, *c.shape), c.dtype) for name, c in manifest.episode_columns.items()}
    first_seed = recipe.first_seed + episodes.start
    ends[SEED][:] = first_seed + np.arange(n)
    lengths = np.zeros(n, np.int64)
    noise = make_noise(env.action_space, env.num_envs, recipe.behaviour_noise, recipe.max_steps)

    place = np.arange(env.num_envs)  # in `episodes`, of what each environment plays
    age = np.zeros(env.num_envs, np.int64)  # env steps
    noise.begin(place, first_seed + place)
    env.seed(first_seed)
    obs: Any = env.reset()
    while (playing := place < n).any():
        now = {**_stored(obs, manifest), **ask(labeller, obs, episodes.start + place)}
        now[BEHAVIOUR_ACTION] = noise.added(now[ACTION], age)
        env.step_async(now[BEHAVIOUR_ACTION])
        steps.add(now, playing)  # while the workers step and draw
        obs, rewards, dones, infos = env.step_wait()
        age += 1
        timed_out = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        came = {REWARD: rewards, TRUNCATED: timed_out, TERMINATED: dones & ~timed_out}
        steps.add(came, playing)
        steps.belong_to(place[playing])
        for i in np.flatnonzero(dones & playing):
            if infos[i].get("diverged", False):
                raise UserError(
                    f"The simulation diverged in the episode of seed {first_seed + place[i]}, so "
                    "there is nothing to learn from it. Collect with less `behaviour_noise`, or "
                    "with another teacher. The shards that are complete stay as they are."
                )
            lengths[place[i]] = age[i]
            for group, value in _stored(infos[i]["terminal_observation"], manifest).items():
                ends[FINALS[group]][place[i]] = value
        ended = np.flatnonzero(dones)
        place[ended] += env.num_envs
        age[ended] = 0
        noise.begin(ended, first_seed + place[ended])
    return steps.end_to_end() | ends, lengths


def _stored(obs: Obs, manifest: Manifest) -> dict[str, np.ndarray]:
    """The groups that are stored, of a batch of observations or of one; of stacks the newest."""
    columns = manifest.step_columns
    groups = {group: obs[group] for group in FINALS if group in columns}
    if FRAME in groups:
        # (..., stack * channels, H, W) -> (..., channels, H, W)
        groups[FRAME] = groups[FRAME][..., -columns[FRAME].shape[0] :, :, :]
    return groups


class _Steps:
    """Columns of the steps of episodes that are played side by side."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
        self._places: list[np.ndarray] = []

    def add(self, values: Mapping[str, np.ndarray], playing: np.ndarray) -> None:
        """Some columns of a step of all environments; others than those asked for are left out.

        Args:
            values: each (n_envs, ...).
            playing: bool (n_envs,), of which environments to keep them.
        """
        for name in values.keys() & self._parts.keys():
            self._parts[name].append(values[name][playing])

    def belong_to(self, places: np.ndarray) -> None:
        """The step is complete, and was one of these episodes, int64 (n,)."""
        self._places.append(places)

    def end_to_end(self) -> dict[str, np.ndarray]:
        """Each column `(steps, ...)`, one episode after another; nothing is left here."""
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
