"""Play whole episodes on fixed seeds and compute their figures.

A student, a teacher or a baseline is an `Act`, a function of a batch of observations. A quantity
computed per step, such as agreement with a teacher, is a `Measure`.

The hidden states of recurrent policies are reset where an episode begins, see
`Evaluation.evaluate.acts`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from Common.commands.progress import Progress
from Common.errors import UserError
from Enviroment.action_range import has_range
from Enviroment.success import read_success
from Enviroment.tasks import Task
from Evaluation.evaluate.acts import Act, Measure, Obs, PolicyAct, Predictor, begin_episodes
from Models.agreement import ActionAccuracy

_RESAMPLES = 10_000


class Watcher(Protocol):
    """Follows the episodes that are played, without influence on them."""

    def acts(self, obs: Obs, actions: np.ndarray) -> None:
        """Take what a step begins with. The arrays may be reused by the environment."""
        ...

    def stepped(
        self, rewards: np.ndarray, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take the outcome of the step."""
        ...


@dataclass(frozen=True)
class EpisodeStats:
    """Statistics of episodes in the order of their seeds; all arrays have shape `(episodes,)`."""

    seeds: np.ndarray
    returns: np.ndarray  # sum of rewards, undiscounted
    lengths: np.ndarray  # env steps
    distances: np.ndarray | None = None  # m, at the end of the episode; None if undefined
    # bool: distance below the task's `success_below`, else as `Enviroment.success` reads it from
    # the info of the final step; None if neither is known
    success: np.ndarray | None = None
    near: np.ndarray | None = None  # bool, distance below twice `success_below`
    distance_name: str = "distance"
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)  # mean over each episode
    # Whether two or more episodes have the same return and, except in games, the same first
    # observation: they are one episode many times. Games wait for their player in various ways.
    are_alike: bool = False

    @property
    def successes(self) -> list[float] | None:
        """1.0 for each successful episode and 0.0 for the others, as teachers' bundles store it."""
        return None if self.success is None else self.success.astype(float).tolist()

    def summary(self, prefix: str = "") -> dict[str, float]:
        """Return means over the episodes, and the 95% interval of the return.

        Args:
            prefix: prefix of every key, e.g. `eval/od_` for `eval/od_return`.
        """
        low, high = mean_interval(self.returns)
        figures = {
            "return": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "return_low": low,
            "return_high": high,
            "length": float(self.lengths.mean()),
        }
        known = {self.distance_name: self.distances, "success": self.success, "near": self.near}
        figures |= {
            name: float(values.mean()) for name, values in known.items() if values is not None
        }
        return {prefix + name: value for name, value in figures.items()}


def run_episodes(
    act: Act,
    env: VecEnv,
    task: Task,
    first_seed: int,
    n_episodes: int,
    measures: Mapping[str, Measure] | None = None,
    watcher: Watcher | None = None,
) -> EpisodeStats:
    """Play one episode per seed from `first_seed` to `first_seed + n_episodes - 1`.

    Worker i plays every `n_envs`-th seed from `first_seed + i` on, independent of episode lengths.
    Taking the first `n_episodes` episodes to end would be biased towards short ones.

    Args:
        act: the policy.
        env: environments that reset worker i's k-th episode with seed `s + k * n_envs + i` after
            `seed(s)`. Episodes in progress are discarded.
        task: the task, which may define a distance at the end of an episode. Without one, success
            is that of the info of the final step; episodes whose info has none count as failures,
            unless no info has it.
        measures: functions of a step by name, averaged over each episode.
        watcher: follows all steps, such as the recorder of a video.

    Raises:
        UserError: `n_episodes` is below 1, or the simulation diverged in an episode, which
            truncates it and invalidates its return.
        ValueError: the environment's terminal observation holds no state, but the task computes
            a distance from it.
    """
    if n_episodes < 1:
        raise UserError(f"An evaluation needs at least 1 episode, not {n_episodes}.")
    measures = measures or {}
    returns = np.zeros(n_episodes)
    lengths = np.zeros(n_episodes, np.int64)
    distances = None if task.distance is None else np.zeros(n_episodes)
    reported: dict[int, bool] = {}  # success by episode, as the infos say
    sums = {name: np.zeros(n_episodes) for name in measures}

    episode = np.arange(env.num_envs)  # index of each worker's current episode
    env.seed(first_seed)
    obs: Any = env.reset()
    beginnings = {_digest(obs, i) for i in np.flatnonzero(episode < n_episodes)}
    policies = (act, *measures.values())
    for policy in policies:
        begin_episodes(policy, np.ones(env.num_envs, bool))
    with Progress(n_episodes, "episodes") as progress:
        while (playing := episode < n_episodes).any():
            actions = act(obs)
            for name, measure in measures.items():
                sums[name][episode[playing]] += measure(obs, actions)[playing]
            if watcher is not None:
                watcher.acts(obs, actions)
            obs, rewards, dones, infos = env.step(actions)
            if watcher is not None:
                watcher.stepped(rewards, dones, infos)
            returns[episode[playing]] += rewards[playing]
            lengths[episode[playing]] += 1
            for i in np.flatnonzero(dones & playing):
                _check_simulated(infos[i], first_seed + episode[i])
                if task.distance is not None and distances is not None:
                    distances[episode[i]] = task.distance(terminal_state(infos[i]))
                elif (success := read_success(infos[i])) is not None:
                    reported[int(episode[i])] = success
            episode[dones] += env.num_envs
            beginnings |= {_digest(obs, i) for i in np.flatnonzero(dones & (episode < n_episodes))}
            for policy in policies:
                begin_episodes(policy, dones)
            progress.advance(int((dones & playing).sum()))
    same = len(beginnings) == 1 or (task.is_game and task.judged_by_mode)
    alike = n_episodes > 1 and same and bool((returns == returns[0]).all())
    stats = _stats(task, first_seed, returns, lengths, distances, reported, sums)
    return dataclasses.replace(stats, are_alike=alike)


def _digest(obs: Obs, i: np.intp) -> int:
    """Return a hash of the observation of worker `i`."""
    groups = obs.values() if isinstance(obs, dict) else (obs,)
    return hash(tuple(group[i].tobytes() for group in groups))


def _check_simulated(info: Mapping[str, Any], seed: int) -> None:
    if info.get("diverged", False):
        raise UserError(
            f"The simulation diverged in the evaluation episode of seed {seed}, so its return "
            "is invalid. Actions or velocities are too large for the time step of the task."
        )


def terminal_state(info: Mapping[str, Any]) -> np.ndarray:
    """Return the state at the end of an episode, from the step's info.

    Raises:
        ValueError: the terminal observation holds no state.
    """
    terminal = info["terminal_observation"]
    if not isinstance(terminal, dict):
        return terminal
    if "state" not in terminal:
        raise ValueError(f"The terminal observation has no 'state', only {sorted(terminal)}.")
    return terminal["state"]


def _stats(
    task: Task,
    first_seed: int,
    returns: np.ndarray,
    lengths: np.ndarray,
    distances: np.ndarray | None,
    reported: Mapping[int, bool],
    sums: Mapping[str, np.ndarray],
) -> EpisodeStats:
    episodes = EpisodeStats(
        seeds=first_seed + np.arange(len(returns)),
        returns=returns,
        lengths=lengths,
        measures={name: total / lengths for name, total in sums.items()},
    )
    if task.distance is None or distances is None:
        success = np.array([reported.get(k, False) for k in range(len(returns))])
        return dataclasses.replace(episodes, success=success) if reported else episodes
    below = task.distance.success_below
    return dataclasses.replace(
        episodes,
        distances=distances,
        success=distances < below,
        near=distances < 2 * below,
        distance_name=task.distance.name,
    )


def skill(student: np.ndarray, teacher: np.ndarray, blind: np.ndarray) -> float:
    """Return the skill, `(mean S - mean B) / (mean T - mean B)`: 0 for blind, 1 for the teacher.

    Args:
        student, teacher, blind: returns `(episodes,)` on the same seeds in the same order.

    Raises:
        ValueError: the lengths differ.
        UserError: the teacher is not better than blind, so that skill is undefined.
    """
    returns = _matching(student, teacher, blind)
    student_mean, teacher_mean, blind_mean = returns.mean(axis=1)
    if teacher_mean <= blind_mean:
        raise UserError(
            f"The teacher's mean return, {teacher_mean:.2f}, is no better than that of a blind "
            f"student, {blind_mean:.2f}, so skill is not defined. Train a better teacher."
        )
    return float((student_mean - blind_mean) / (teacher_mean - blind_mean))


def skill_interval(
    student: np.ndarray, teacher: np.ndarray, blind: np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the bootstrap interval of `skill`, resampling the same seeds for all three.

    Returns:
        None if the teacher is not better than blind on some resampled seeds: there are too few
        episodes to determine the scale of skill.
    """
    returns = _matching(student, teacher, blind)
    skill(student, teacher, blind)  # raises its errors
    means = returns[:, _resampled(returns.shape[1])].mean(axis=2)  # (3, resamples)
    if (means[1] <= means[2]).any():
        return None
    return _percentiles((means[0] - means[2]) / (means[1] - means[2]), level)


def ratio_interval(
    student: np.ndarray, teacher: np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the bootstrap interval of `mean S / mean T`, resampling the same seeds for both.

    Args:
        student, teacher: returns `(episodes,)` on the same seeds in the same order.

    Returns:
        None if a mean is 0 or below, for the teacher also on some resampled seeds: a ratio of such
        returns does not measure how good the student is.
    """
    returns = _matching(student, teacher)
    means = returns[:, _resampled(returns.shape[1])].mean(axis=2)  # (2, resamples)
    if min(returns.mean(axis=1)) <= 0 or means[1].min() <= 0:
        return None
    return _percentiles(means[0] / means[1], level)


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`, `(n,)`.

    The interval is deterministic.
    """
    values = np.asarray(values, np.float64)
    return _percentiles(values[_resampled(len(values))].mean(axis=1), level)


def _matching(*returns: np.ndarray) -> np.ndarray:
    lengths = {len(row) for row in returns}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"Skill needs returns on the same seeds; got {sorted(lengths)} episodes.")
    return np.asarray(returns, np.float64)  # (policies, episodes)


def _resampled(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))  # (resamples, n)


def _percentiles(resampled: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.percentile(resampled, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def policy_act(policy: Predictor, deterministic: bool = True) -> PolicyAct:
    """Return the `Act` of an SB3 model or policy, or of a teacher."""
    return PolicyAct(policy, deterministic)


def random_policy(action_space: spaces.Space, seed: int) -> Act:
    """Return a policy uniform over the action space, deterministic given seed and batch size."""
    rng = np.random.default_rng(seed)
    if isinstance(action_space, spaces.Discrete):
        first, n = action_space.start, action_space.n
        return lambda obs: rng.integers(first, first + n, size=_batch_size(obs))
    if isinstance(action_space, spaces.MultiDiscrete | spaces.MultiBinary):
        choices = _choices(action_space)
        return lambda obs: rng.integers(choices, size=(_batch_size(obs), *choices.shape))
    box = action_space
    if not isinstance(box, spaces.Box) or not has_range(box):
        raise UserError(f"Actions must be discrete or within bounds, not {box}.")

    def act(obs: Obs) -> np.ndarray:
        uniform = rng.uniform(box.low, box.high, size=(_batch_size(obs), *box.shape))
        return uniform.astype(box.dtype)

    return act


def do_nothing(action_space: spaces.Space) -> Act:
    """Return a policy of zero actions, clipped to the bounds, or of the first discrete choice."""
    box = action_space
    if isinstance(box, spaces.Discrete):
        action = np.asarray(box.start)
    elif isinstance(box, spaces.MultiDiscrete | spaces.MultiBinary):
        action = np.zeros_like(_choices(box))
    elif not isinstance(box, spaces.Box):
        raise UserError(f"Doing nothing is not defined for actions of {box}.")
    else:
        action = np.clip(np.zeros(box.shape, box.dtype), box.low, box.high)
    return lambda obs: np.repeat(action[None], _batch_size(obs), axis=0)


class ActionAgreement:
    """A measure of the accuracy of actions, as in training (`Models.agreement.ActionAccuracy`).

    Args:
        other: the policy that the actions are compared with, in the same states.
    """

    def __init__(self, accuracy: ActionAccuracy, other: Act) -> None:
        self._accuracy, self._other = accuracy, other

    def __call__(self, obs: Obs, actions: np.ndarray) -> np.ndarray:
        return self._accuracy.of_actions(actions, self._other(obs))

    def reset(self, begins: np.ndarray) -> None:
        """Reset the memory of the other policy, see `begin_episodes`."""
        begin_episodes(self._other, begins)


def agreement(teacher: Act, action_space: spaces.Space) -> dict[str, Measure]:
    """Return the measure `action_accuracy`, or none if actions are unbounded.

    It compares actions with those of `teacher` in the same states.
    """
    accuracy = ActionAccuracy(action_space)
    return {"action_accuracy": ActionAgreement(accuracy, teacher)} if accuracy.is_defined else {}


def _choices(action_space: spaces.MultiDiscrete | spaces.MultiBinary) -> np.ndarray:
    """Return the number of choices of each discrete action; choices start at 0."""
    if isinstance(action_space, spaces.MultiBinary):
        return np.full(action_space.shape, 2)
    return action_space.nvec


def _batch_size(obs: Obs) -> int:
    return len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
