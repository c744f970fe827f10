"""A student's figures on evaluation seeds, beside its teacher's: as numbers, and as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import (
    Act,
    EpisodeStats,
    Measure,
    ratio_interval,
    run_episodes,
    skill,
    skill_interval,
)
from Evaluation.metrics import ENDS, ID, METRICS, TEACHER_STATES, Metric

Baselines = Mapping[str, Mapping[str, list[float]]]  # as a teacher's bundle has them
_BASELINES = ("teacher", "corrupted_teacher", "blind", "nothing", "random")


def evaluate_student(
    act: Act,
    env: VecEnv,
    task: Task,
    baselines: Baselines,
    n_episodes: int,
    *,
    first_seed: int = seeds.EVALUATION.start,
    measures: Mapping[str, Measure] | None = None,
) -> dict[str, float]:
    """Plays whole episodes, on the evaluation seeds, which neither trained nor chose anything.

    Args:
        first_seed: of the episodes, where it is to be another.
        measures: of each step, beside what is told here; their means get their names.

    Returns:
        `EpisodeStats.summary`, `episodes`, `first_seed`, the return of each baseline on the same
        seeds as `<name>_return`, and where the teacher is known to be better than a blind student
        `skill` with its 95% interval (`skill_low`, `skill_high`; left out where these episodes are
        too few to tell the teacher from blind). Where student and teacher both
        have a return above 0, `ratio` is the one over the other, with its 95% interval
        (`ratio_low`, `ratio_high`). A baseline over fewer seeds is left out.
    """
    stats = run_episodes(act, env, task, first_seed, n_episodes, measures)
    known = baselines_on(baselines, range(first_seed, first_seed + n_episodes))
    figures = _figures(stats, known)
    return figures | {name: float(values.mean()) for name, values in stats.measures.items()}


def baselines_on(baselines: Baselines, episodes: range) -> dict[str, np.ndarray]:
    """The returns `(episodes,)` of the policies whose returns on all of these seeds are known."""
    for name, block in {"validation": seeds.VALIDATION, "evaluation": seeds.EVALUATION}.items():
        if episodes.start in block:
            on = slice(episodes.start - block.start, episodes.stop - block.start)
            known = {policy: returns.get(name, []) for policy, returns in baselines.items()}
            return {p: np.array(r[on]) for p, r in known.items() if len(r) >= on.stop}
    return {}


def has_skill(baselines: Mapping[str, np.ndarray]) -> bool:
    """Whether skill means anything: both ends of its scale are known, and in their order."""
    if not {"teacher", "blind"} <= baselines.keys():
        return False
    return bool(baselines["teacher"].mean() > baselines["blind"].mean())


def _figures(stats: EpisodeStats, baselines: dict[str, np.ndarray]) -> dict[str, float]:
    figures = {"episodes": len(stats.seeds), "first_seed": int(stats.seeds[0]), **stats.summary()}
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
    """The same for people.

    Args:
        figures: where those of training seeds are there too, as `id_<name>`, they get a column.
        title: above the table, where the seeds are no evaluation seeds.
    """
    table = Table(title=title or f"The student on {figures['episodes']:.0f} unseen seeds")
    table.add_column("figure")
    columns = {"": "value"}
    if f"{ID}return" in figures:
        columns = {"": "these seeds", ID: "training's seeds"}
    cells = []
    for prefix, name in columns.items():
        table.add_column(name, justify="right")
        own = {k.removeprefix(prefix): v for k, v in figures.items() if k.startswith(prefix)}
        cells.append(_rows(own, task))
    for label in cells[0]:
        table.add_row(label, *(column.get(label, "") for column in cells))
    return table


def _rows(figures: Mapping[str, float], task: Task) -> dict[str, str]:
    """Label and value of what there is, in the order of `METRICS`."""
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
    """One episode has no interval, whatever its ends are."""
    if figures["episodes"] < 2 or f"{key}_low" not in figures:
        return {metric.title: _cell(figures, key, metric)}
    low, high = (_cell(figures, key + end, metric) for end in ENDS)
    cell = f"{_cell(figures, key, metric)} ({low} to {high})"
    return {f"{metric.title} (95% interval)": cell}


def _returns(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    rows = _row(figures, key, metric, task)
    for name in _BASELINES:
        if f"{name}_{key}" in figures:
            title = f"{metric.title} of {name.replace('_', ' ')}"
            rows[title] = _cell(figures, f"{name}_{key}", metric)
    return rows


def _distance(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    return {key.replace("_", " "): _cell(figures, key, metric)}


def _success(figures: Mapping[str, float], key: str, metric: Metric, task: Task) -> dict[str, str]:
    """Within the distance of success, and within twice as much."""
    if task.distance is None:
        return _row(figures, key, metric, task)
    below = task.distance.success_below
    return {
        f"below {below:g} m": _cell(figures, key, metric),
        f"below {2 * below:g} m": _cell(figures, "near", metric),
    }


# Rows of their own have what the task names, and what stands beside its baselines.
_OWN_ROWS = {"return": _returns, "distance": _distance, "success": _success}


def _cell(figures: Mapping[str, float], key: str, metric: Metric) -> str:
    return f"{metric.written(figures[key])} {metric.unit}".rstrip()
