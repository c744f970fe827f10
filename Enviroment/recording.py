"""Plays episodes of the teacher and keeps all of every step.

What is recorded of an episode depends on its seed alone, not on what runs beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from Enviroment.dataset_format import (
    ACTION,
    BEHAVIOUR_ACTION,
    FINAL_FRAME,
    FINAL_STATE,
    REWARD,
    SEED,
    TERMINATED,
    TRUNCATED,
    Manifest,
)
from Enviroment.errors import UserError
from Enviroment.observations import FRAME, STATE
from Enviroment.vector import FrameVecEnv

LABEL_ROWS = 32  # states the teacher is asked about at once; changing it changes datasets
_NOISE_STREAM = 1  # sets an episode's noise apart from whatever else its seed seeds


class Labeller(Protocol):
    """The teacher, as collection sees it (`Models.labels.TeacherLabeller`)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain JSON: which teacher, and how it is asked."""
        ...

    def __call__(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Labels of raw states `(LABEL_ROWS, state_dim)`, each float32 with as many rows.

        `action` (in the environment's units), `distribution.<parameter>` and, where the teacher
        has one, `value`. A state gives the same bits in the same row, whatever the others hold.
        """
        ...

    def check_fits(self, task: str, state_space: spaces.Space, action_space: spaces.Space) -> None:
        """Raise `UserError` unless this is a teacher of that task."""
        ...


def ask(labeller: Labeller, states: np.ndarray, episodes: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of the states of some episodes, the same bits whichever others are asked about.

    Matrix products round differently in batches of other sizes. So the teacher is always asked
    about `LABEL_ROWS` states, and an episode always has the same row; where two share one, the
    teacher is asked again.

    Args:
        states: (n, state_dim).
        episodes: (n,), their numbers.
    """
    rows = episodes % LABEL_ROWS
    labels: dict[str, np.ndarray] = {}
    waiting = np.arange(len(rows))
    while len(waiting):
        _, first = np.unique(rows[waiting], return_index=True)
        asked = waiting[first]
        batch = np.zeros((LABEL_ROWS, states.shape[1]), np.float32)
        batch[rows[asked]] = states[asked]
        for name, answer in labeller(batch).items():
            if name not in labels:
                labels[name] = np.empty((len(rows), *answer.shape[1:]), answer.dtype)
            labels[name][asked] = answer[rows[asked]]
        waiting = np.delete(waiting, first)
    return labels


def record(
    env: FrameVecEnv, labeller: Labeller, manifest: Manifest, episodes: range
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Plays episodes by number, in environments whose frames are not stacked.

    Returns: The manifest's columns, the steps of each episode after those of the one before, and
        the episodes' lengths in env steps, `(len(episodes),)`.

    Raises:
        UserError: the simulation diverged. An episode cannot be left out: a dataset is the same
            episodes whoever collects it.
    """
    recipe = manifest.recipe
    shape = (len(episodes), recipe.max_steps)
    steps = {n: np.empty((*shape, *c.shape), c.dtype) for n, c in manifest.step_columns.items()}
    ends = {n: np.empty((shape[0], *c.shape), c.dtype) for n, c in manifest.episode_columns.items()}
    first_seed = recipe.first_seed + episodes.start
    ends[SEED][:] = first_seed + np.arange(len(episodes))
    lengths = np.zeros(len(episodes), np.int64)
    noise = _Noise(env, recipe.behaviour_noise, recipe.max_steps)

    place = np.arange(env.num_envs)  # in `episodes`, of what each environment plays
    age = np.zeros(env.num_envs, np.int64)  # env steps
    noise.begin(place, first_seed + place)
    env.seed(first_seed)
    obs: Any = env.reset()
    while (playing := place < len(episodes)).any():
        at = place[playing], age[playing]
        now = {FRAME: obs[FRAME], STATE: obs[STATE]}
        now |= ask(labeller, obs[STATE], episodes.start + place)
        behaviour = noise.added(now[ACTION], age)
        if BEHAVIOUR_ACTION in steps:
            now[BEHAVIOUR_ACTION] = behaviour
        env.step_async(behaviour)
        for name, values in now.items():  # while the workers step and draw
            steps[name][at] = values[playing]
        obs, rewards, dones, infos = env.step_wait()
        age += 1
        steps[REWARD][at] = rewards[playing]
        timed_out = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        steps[TRUNCATED][at] = timed_out[playing]
        steps[TERMINATED][at] = (dones & ~timed_out)[playing]
        for i in np.flatnonzero(dones & playing):
            if infos[i].get("diverged", False):
                raise UserError(
                    f"The simulation diverged in the episode of seed {first_seed + place[i]}, so "
                    "there is nothing to learn from it. Collect with less --behaviour_noise, or "
                    "with another teacher. The shards that are complete stay as they are."
                )
            lengths[place[i]] = age[i]
            final = infos[i]["terminal_observation"]
            ends[FINAL_FRAME][place[i]], ends[FINAL_STATE][place[i]] = final[FRAME], final[STATE]
        ended = np.flatnonzero(dones)
        place[ended] += env.num_envs
        age[ended] = 0
        noise.begin(ended, first_seed + place[ended])
    return {name: _end_to_end(values, lengths) for name, values in steps.items()} | ends, lengths


def _end_to_end(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`(episodes, max_steps, ...)` -> `(steps, ...)`, without what no episode reached."""
    depth = values.shape[1]
    if (lengths == depth).all():
        return values.reshape(-1, *values.shape[2:])  # (episodes * max_steps, ...), no copy
    return values[np.arange(depth) < lengths[:, None]]


class _Noise:
    """Gaussian noise on what each environment does, drawn for its episode from the seed of that."""

    def __init__(self, env: FrameVecEnv, scale: float, max_steps: int) -> None:
        space = env.action_space
        assert isinstance(space, spaces.Box)  # `make_env` has no others
        self._space = space
        self._std = scale * (space.high - space.low) / 2
        self._draws = None  # (n_envs, max_steps, ...), standard normal
        if scale > 0:
            self._draws = np.zeros((env.num_envs, max_steps, *space.shape), np.float32)

    def begin(self, indices: np.ndarray, episode_seeds: np.ndarray) -> None:
        """Environments begin episodes."""
        if self._draws is not None:
            for index, seed in zip(indices.tolist(), episode_seeds.tolist(), strict=True):
                generator = np.random.default_rng([seed, _NOISE_STREAM])
                self._draws[index] = generator.standard_normal(self._draws.shape[1:], np.float32)

    def added(self, actions: np.ndarray, age: np.ndarray) -> np.ndarray:
        """The actions with the noise of each episode's step `age`, within the bounds."""
        if self._draws is None:
            return actions
        noisy = actions + self._std * self._draws[np.arange(len(age)), age]
        return np.clip(noisy, self._space.low, self._space.high).astype(actions.dtype)
