"""The default teacher of a task."""

from __future__ import annotations

from pathlib import Path

from Common.errors import UserError
from Common.places import RESULTS
from Common.runs.run_folder import TEACHER
from Enviroment.tasks import TASKS


def default_teacher(task_name: str) -> Path:
    """Return the bundle of a task's teacher: the SAC agent or, if there is none, the PPO agent.

    Raises:
        UserError: there is no teacher. The message has the command to train one.
    """
    folder = RESULTS / task_name / "teachers"
    for algo in ("sac", "ppo"):
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
