"""A student's figures on evaluation seeds, beside its teacher's: as numbers, and as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate import Act, EpisodeStats, run_episodes, skill, skill_interval

Baselines = Mapping[str, Mapping[str, list[float]]]  # as a teacher's bundle has them
FIGURES_FILE = "evaluation.json"


def evaluate_student(
    act: Act, env: VecEnv, task: Task, baselines: Baselines, n_episodes: int
) -> dict[str, float]:
    """Plays whole episodes on the evaluation seeds, which neither trained nor chose anything.

    Returns:
        `EpisodeStats.summary`, `episodes`, `first_seed`, the return of each baseline on the same
        seeds as `<name>_return`, and where teacher and blind student are known `skill` with its
        95% interval (`skill_low`, `skill_high`). A baseline over fewer seeds is left out.
    """
    stats = run_episodes(act, env, task, seeds.EVALUATION.start, n_episodes)
    known = {
        name: np.array(returns["evaluation"][:n_episodes])
        for name, returns in baselines.items()
        if len(returns["evaluation"]) >= n_episodes
    }
    return _figures(stats, known)


def _figures(stats: EpisodeStats, baselines: dict[str, np.ndarray]) -> dict[str, float]:
    figures = {"episodes": len(stats.seeds), "first_seed": int(stats.seeds[0]), **stats.summary()}
    figures |= {f"{name}_return": float(returns.mean()) for name, returns in baselines.items()}
    if {"teacher", "blind"} <= baselines.keys():
        returns = stats.returns, baselines["teacher"], baselines["blind"]
        low, high = skill_interval(*returns)
        figures |= {"skill": skill(*returns), "skill_low": low, "skill_high": high}
    return figures


def figures_table(figures: Mapping[str, float], task: Task) -> Table:
    """The same for people."""
    table = Table(title=f"The student on {figures['episodes']:.0f} unseen seeds")
    table.add_column("figure")
    table.add_column("value", justify="right")
    interval = f"{figures['return_low']:.2f} to {figures['return_high']:.2f}"
    rows = {"return (95% interval)": f"{figures['return']:.2f} ({interval})"}
    for name in ("teacher", "corrupted_teacher", "blind", "nothing", "random"):
        if f"{name}_return" in figures:
            rows[f"return of {name.replace('_', ' ')}"] = f"{figures[f'{name}_return']:.2f}"
    if "skill" in figures:
        interval = f"{figures['skill_low']:.3f} to {figures['skill_high']:.3f}"
        rows["skill (95% interval)"] = f"{figures['skill']:.3f} ({interval})"
    if task.distance is not None:
        below = task.distance.success_below
        rows[task.distance.name.replace("_", " ")] = f"{figures[task.distance.name]:.3f} m"
        rows[f"below {below:g} m"] = f"{figures['success']:.0%}"
        rows[f"below {2 * below:g} m"] = f"{figures['near']:.0%}"
    for row in rows.items():
        table.add_row(*row)
    return table
