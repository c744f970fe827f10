"""The teachers that are shipped with a task."""

from __future__ import annotations

from pathlib import Path

from Common.errors import UserError
from Common.places import RESULTS
from Common.runs.run_folder import TEACHER
from Enviroment.tasks import TASKS

# Best first: students of PPO's teachers end higher than those of SAC's (Results/Pusher).
_ALGORITHMS = ("ppo", "sac")


def shipped_teachers(task_name: str) -> list[Path]:
    """Return the bundles of a task's teachers, the default one first."""
    folder = RESULTS / task_name / "teachers"
    found = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    first = [name for name in _ALGORITHMS if name in found]
    return [folder / name for name in (*first, *sorted(set(found) - set(first)))]


def default_teacher(task_name: str) -> Path:
    """Return the bundle of a task's teacher: the PPO agent or, if there is none, the SAC agent.

    Raises:
        UserError: there is no teacher. The message has the command to train one.
    """
    folder = RESULTS / task_name / "teachers"
    for algo in _ALGORITHMS:
        if (folder / algo).is_dir():
            return folder / algo
    task = TASKS.get(task_name)
    how = "Give the bundle of one (`teacher`)."
    if task is not None:
        run = RESULTS.relative_to(RESULTS.parent) / task_name / "Teacher" / "PPO_0"
        how = (
            f"Train one with `python Train_Teacher/{task.script} --algo ppo` and give its bundle, "
            f"`teacher` {run / TEACHER}, or copy that to {folder / 'ppo'}."
        )
    raise UserError(f"There is no teacher of {task_name} in {folder}. {how}")
