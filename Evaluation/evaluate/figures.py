"""Compute a student's figures on evaluation seeds, beside its teacher's, and tabulate them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from Common.names import counted
from Common.program import as_typed
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import (
    Act,
    EpisodeStats,
    Measure,
    mean_interval,
    ratio_interval,
    run_episodes,
    skill,
    skill_interval,
)
from Evaluation.metrics import ENDS, ID, METRICS, TEACHER_STATES, Metric
from Evaluation.tool import print_note

Baselines = Mapping[str, Mapping[str, list[float]]]  # as stored in a teacher's bundle
_BASELINES = ("teacher", "corrupted_teacher", "blind", "nothing", "random")


def evaluate_student(
    act: Act,
    env: VecEnv,
    task: Task,
    baselines: Baselines,
    n_episodes: int,
    *,
    successes: Baselines | None = None,
    replayed: Mapping[str, EpisodeStats] | None = None,
    first_seed: int = seeds.EVALUATION.start,
    measures: Mapping[str, Measure] | None = None,
) -> dict[str, float]:
    """Evaluate whole episodes on the evaluation seeds, never used for training or selection.

    Print a note if the episodes are alike (`note_alike`).

    Args:
        baselines: returns of the teacher and others, as in a teacher's bundle.
        successes: their successes, likewise.
        replayed: policies that have played the same seeds as this student does, such as with
            sampled actions; they replace those of `baselines`.
        first_seed: seed of the first episode.
        measures: further measures per step; their means are returned by name.

    Returns:
        `EpisodeStats.summary`, `episodes`, `first_seed`, and the return and success of each
        baseline on the same seeds as `<name>_return` and `<name>_success`. If the teacher is known
        to be better than a blind student, also `skill` with its 95% interval (`skill_low`,
        `skill_high`; omitted if there are too few episodes to separate the teacher from blind). If
        student and teacher both have a return above 0, also `ratio`, their quotient, with its 95%
        interval (`ratio_low`, `ratio_high`).
        Baselines over fewer seeds are omitted.
    """
    stats = run_episodes(act, env, task, first_seed, n_episodes, measures)
    note_alike(stats, "the student", "python -m Evaluation.evaluate RUN --stochastic")
    episodes = range(first_seed, first_seed + n_episodes)
    replayed = replayed or {}
    again = {name: played.returns for name, played in replayed.items()}
    figures = _figures(stats, baselines_on(baselines, episodes) | again)
    if stats.success is not None:
        known = baselines_on(successes or {}, episodes)
        known |= {n: p.success for n, p in replayed.items() if p.success is not None}
        figures |= {f"{name}_success": float(values.mean()) for name, values in known.items()}
    return figures | {name: float(values.mean()) for name, values in stats.measures.items()}


def note_alike(stats: EpisodeStats, whose: str, with_samples: str = "") -> None:
    """Print a note if the episodes are one episode many times, as in a deterministic game.

    Args:
        whose: the policy.
        with_samples: command that evaluates it with sampled actions.
    """
    if not stats.are_alike:
        return
    remedy = f" This samples actions: {as_typed(with_samples)}" if with_samples else ""
    print_note(
        f"All {len(stats.returns)} episodes of {whose} have the return {stats.returns[0]:g}. "
        "Without randomness in environment and actions, they are the same episode, and their "
        f"interval has no meaning.{remedy}"
    )


def baselines_on(baselines: Baselines, episodes: range) -> dict[str, np.ndarray]:
    """Return the values `(episodes,)` of policies that are known on all of these seeds."""
    for name, block in {"validation": seeds.VALIDATION, "evaluation": seeds.EVALUATION}.items():
        if episodes.start in block:
            on = slice(episodes.start - block.start, episodes.stop - block.start)
            known = {policy: returns.get(name, []) for policy, returns in baselines.items()}
            return {p: np.array(r[on]) for p, r in known.items() if len(r) >= on.stop}
    return {}


def has_skill(baselines: Mapping[str, np.ndarray]) -> bool:
    """Return whether skill is defined: teacher and blind are known, and the teacher is better."""
    if not {"teacher", "blind"} <= baselines.keys():
        return False
    return bool(baselines["teacher"].mean() > baselines["blind"].mean())


def _figures(stats: EpisodeStats, baselines: dict[str, np.ndarray]) -> dict[str, float]:
    figures = {"episodes": len(stats.seeds), "first_seed": int(stats.seeds[0]), **stats.summary()}
    if stats.distances is not None:
        ends = zip(ENDS, mean_interval(stats.distances), strict=True)
        figures |= {stats.distance_name + end: value for end, value in ends}
    figures |= {f"{name}_return": float(returns.mean()) for name, returns in baselines.items()}
    if has_skill(baselines):
        returns = stats.returns, baselines["teacher"], baselines["blind"]
        figures["skill"] = skill(*returns)
        if (interval := skill_interval(*returns)) is not None:
            figures["skill_low"], figures["skill_high"] = interval
    if "teacher" in baselines:
        figures |= _ratio(stats.returns, baselines["teacher"])
    return figures


def _ratio(student: np.ndarray, teacher: np.ndarray) -> dict[str, float]:
    interval = ratio_interval(student, teacher)
    if interval is None:
        return {}
    low, high = interval
    return {
        "ratio": float(student.mean() / teacher.mean()),
        "ratio_low": low,
        "ratio_high": high,
    }


def figures_table(figures: Mapping[str, float], task: Task, title: str = "") -> Table:
    """Return the figures as a table for the console.

    Args:
        figures: the figures; those on training seeds, `id_<name>`, get a column if present.
        title: title of the table; default: the number of unseen seeds.
    """
    table = Table(
        title=title or f"The student on {counted(int(figures['episodes']), 'unseen seed')}"
    )
    table.add_column("figure")
    columns = {"": "value"}
    if f"{ID}return" in figures:
        columns = {"": "these seeds", ID: "training seeds"}
    cells = []
    for prefix, name in columns.items():
        table.add_column(name, justify="right")
        own = {k.removeprefix(prefix): v for k, v in figures.items() if k.startswith(prefix)}
        cells.append(_rows(own, task))
    for label in cells[0]:
        table.add_row(label, *(column.get(label, "") for column in cells))
    return table


def _rows(figures: Mapping[str, float], task: Task) -> dict[str, str]:
    """Return the label and value of each available figure, in the order of `METRICS`."""
    rows = {}
    for metric in METRICS.values():
        key = metric.evaluated_key(figures)
        if key is None:
            continue
        in_teachers = TEACHER_STATES + key
        if in_teachers in figures:
            rows[f"{metric.title}, student's states"] = _cell(figures, key, metric)
            rows[f"{metric.title}, teacher's states"] = _cell(figures, in_teachers, metric)
        else:
            rows |= _OWN_ROWS.get(metric.key, _row)(figures, key, metric, task)
    return rows


def _row(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    """Return a figure with its interval, which a single episode does not have."""
    if figures["episodes"] < 2 or f"{key}_low" not in figures:
        return {metric.title: _cell(figures, key, metric)}
    low, high = (_cell(figures, key + end, metric) for end in ENDS)
    cell = f"{_cell(figures, key, metric)} ({low} to {high})"
    return {f"{metric.title} (95% interval)": cell}


def _compared(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    """Return a figure, and those of the teacher and other policies."""
    rows = _row(figures, key, metric, task)
    for name in _BASELINES:
        if f"{name}_{key}" in figures:
            title = f"{metric.title} of {name.replace('_', ' ')}"
            rows[title] = _cell(figures, f"{name}_{key}", metric)
    return rows


def _distance(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    return {key.replace("_", " "): _cell(figures, key, metric)}


def _success(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    """Return the shares of episodes within the success distance and within twice of it."""
    if task.distance is None:
        return _compared(figures, key, metric, task)
    below = task.distance.success_below
    return {
        f"below {below:g} m": _cell(figures, key, metric),
        f"below {2 * below:g} m": _cell(figures, "near", metric),
    }


# Figures that the task names, or that are shown with baselines.
_OWN_ROWS = {"return": _compared, "distance": _distance, "success": _success}


def _cell(figures: Mapping[str, float], key: str, metric: Metric) -> str:
    return f"{metric.written(figures[key])} {metric.unit}".rstrip()
