"""`python -m Evaluation.linear_probe --task T`: test whether proprioception predicts the state.

Frames are needed only if they are the only source of some of the state. If a linear map of the
`proprio` group predicts the object's position, a blind student can succeed, and the group holds
too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from Common.errors import UserError
from Common.names import counted
from Enviroment import seeds
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.make import make_state_env
from Enviroment.observations import STATE
from Enviroment.tasks import Task, get_task
from Evaluation.evaluate.episodes import Obs, random_policy, run_episodes
from Evaluation.tool import write_json

if TYPE_CHECKING:
    from Evaluation.linear_probe.__main__ import ProbeFlags

# R^2 from which proprioception counts as predictive. If it holds a position, R^2 is 1; random
# motion of Reacher's arm alone predicts the vector from fingertip to target with R^2 0.5.
THRESHOLD = 0.9
_RIDGE = 1e-3  # of the standardised features' variance
_HELD_OUT = 0.25  # of the episodes
_MIN_EPISODES = 4  # of random actions
_EPISODES_PER_FEATURE = 2  # of a dataset, which provides one step per episode
_CONSTANT = 1e-6  # deviations below, in units of the state, count as constant


@dataclass(frozen=True)
class Steps:
    """States `(steps, state_dim)` and their episode indices `(steps,)`."""

    states: np.ndarray
    episodes: np.ndarray


def probe(flags: ProbeFlags) -> dict[str, Any]:
    """Fit the probe, print the table and the verdict, and write them to `--output`.

    Returns:
        `verdict`, `warn`, `task`, `episodes`, `steps` and `r2`: by index of the state, the share of
        the variance in held-out episodes that is predicted; None if it is constant.

    Raises:
        UserError: neither task nor dataset is given, the task does not have both proprioception and
            other state, or there are too few episodes.
    """
    task, steps = _first_steps(flags) if flags.dataset is not None else _random_steps(flags)
    hidden = hidden_indices(task, steps.states.shape[1])
    r2 = dict(zip(hidden, held_out_r2(steps, task.proprio_indices, hidden), strict=True))
    warn, verdict = judge(task, r2)
    result = {
        "verdict": verdict,
        "warn": warn,
        "task": task.name,
        "episodes": len(np.unique(steps.episodes)),
        "steps": len(steps.states),
        "r2": {str(place): value for place, value in r2.items()},
    }
    if flags.output is not None:
        write_json(flags.output, result)
    Console().print(_table(task, r2, result["episodes"]))
    print(verdict)
    return result


def _first_steps(flags: ProbeFlags) -> tuple[Task, Steps]:
    """Return the first step of each episode of a dataset, before the teacher's knowledge shows."""
    task = None if flags.task is None else get_task(flags.task)
    dataset = TeacherDataset.open(flags.dataset, task)  # pyright: ignore[reportArgumentType]
    _check_proprio(dataset.task)
    needed = _EPISODES_PER_FEATURE * len(dataset.task.proprio_indices)
    if dataset.n_episodes < needed:
        hint = f" Or use `--task {dataset.task.name}` without a dataset for random actions."
        raise UserError(
            f"{flags.dataset} has {counted(dataset.n_episodes, 'episode')}, but the probe needs at "
            f"least {needed}.{'' if dataset.task.custom else hint}"
        )
    states = dataset.read(dataset.starts[:-1], [STATE])[STATE]
    return dataset.task, Steps(states, np.arange(dataset.n_episodes))


def _random_steps(flags: ProbeFlags) -> tuple[Task, Steps]:
    """Return all steps of episodes with random actions, which are independent of the state."""
    if flags.task is None:
        raise UserError("Give a --task or a --dataset.")
    task = get_task(flags.task)
    _check_proprio(task)
    if flags.episodes < _MIN_EPISODES:
        raise UserError(f"--episodes {flags.episodes} must be at least {_MIN_EPISODES}.")
    env = make_state_env(task, 1, seeds.VALIDATION.start)  # 1: steps come episode by episode
    act, states = random_policy(env.action_space, seeds.model(0)), []

    def recording(obs: Obs) -> np.ndarray:
        assert isinstance(obs, np.ndarray)
        states.append(obs[0].copy())
        return act(obs)

    try:
        stats = run_episodes(recording, env, task, seeds.VALIDATION.start, flags.episodes)
    finally:
        env.close()
    return task, Steps(np.array(states), np.repeat(np.arange(flags.episodes), stats.lengths))


def _check_proprio(task: Task) -> None:
    if not task.proprio:
        raise UserError(f"{task.name} has no proprioception to predict from.")


def hidden_indices(task: Task, state_dim: int) -> list[int]:
    """Return the indices of the state outside proprioception.

    Raises:
        UserError: there are none.
    """
    hidden = np.setdiff1d(np.arange(state_dim), task.proprio_indices)
    if not len(hidden) or not task.proprio:
        raise UserError(f"{task.name}: proprioception is all of the state, or none of it.")
    return hidden.tolist()


def held_out_r2(
    steps: Steps, features: Sequence[int] | np.ndarray, targets: Sequence[int]
) -> list[float | None]:
    """Return R^2 of a ridge regression on held-out episodes, per target.

    min_W |Y - X W|^2 / N + ridge |W|^2, with X standardised and Y centred on the training episodes;
    R^2 = 1 - |Y - X W|^2 / |Y - mean Y|^2 on the held-out episodes. Whole episodes are held out,
    since steps of one episode are correlated.

    Args:
        features, targets: indices of the state.

    Returns:
        One value per target; None if the target is constant in either part.
    """
    order = np.random.default_rng(0).permutation(np.unique(steps.episodes))
    held_out = np.isin(steps.episodes, order[: round(_HELD_OUT * len(order))])
    states = steps.states.astype(np.float64)
    x, y = states[:, features], states[:, targets]  # (N, P), (N, targets)
    mean, std = x[~held_out].mean(axis=0), x[~held_out].std(axis=0)
    x = (x - mean) / np.where(std < _CONSTANT, 1.0, std)
    y = y - y[~held_out].mean(axis=0)
    fit = x[~held_out]
    penalty = _RIDGE * len(fit) * np.eye(fit.shape[1])
    weights = np.linalg.solve(fit.T @ fit + penalty, fit.T @ y[~held_out])  # (P, targets)
    errors = np.square(y[held_out] - x[held_out] @ weights).mean(axis=0)
    variances = y[held_out].var(axis=0)
    varies = np.minimum(variances, y[~held_out].var(axis=0)) > _CONSTANT**2
    return [
        float(1 - error / variance) if known else None
        for error, variance, known in zip(errors, variances, varies, strict=True)
    ]


def judge(task: Task, r2: dict[int, float | None]) -> tuple[bool, str]:
    """Return whether to warn, and the verdict as text.

    If the task defines which part of the state determines success (for Pusher, object and goal), it
    warns if any of it is predicted; otherwise if all that varies outside proprioception is.
    """
    known = {place: value for place, value in r2.items() if value is not None}
    if not known:
        return False, "Nothing outside proprioception varies, so there is nothing to see."
    decisive = {place: known[place] for place in known.keys() & _success_indices(task)}
    place = max(decisive, key=decisive.__getitem__, default=min(known, key=known.__getitem__))
    how = f"proprioception predicts state[{place}] with R^2 {known[place]:.2f}"
    if known[place] >= THRESHOLD:
        return True, (
            f"WARNING: {how}, so frames may not be needed. Remove the predictive ranges from the "
            "task's `proprio`, or measure the benefit of frames by a blind student (--blind)."
        )
    return False, f"Frames are needed: {how}, below {THRESHOLD}."


def _success_indices(task: Task) -> set[int]:
    if task.distance is None:
        return set()
    ranges = [task.distance.a, *([] if task.distance.b is None else [task.distance.b])]
    return {place for bounds in ranges for place in range(*bounds)}


def _table(task: Task, r2: dict[int, float | None], n_episodes: int) -> Table:
    table = Table(
        title=f"{task.name}: predicted from proprioception, {counted(n_episodes, 'episode')}"
    )
    table.add_column("outside proprioception")
    table.add_column("R^2, held out", justify="right")
    success = _success_indices(task)
    for place, value in r2.items():
        name = f"state[{place}]" + (" (determines success)" if place in success else "")
        table.add_row(name, "constant" if value is None else f"{value:.3f}")
    return table
