"""The teachers that are shipped with a task."""

from __future__ import annotations

from pathlib import Path

from Common.errors import UserError
from Common.places import RESULTS, SHIPPED
from Common.runs.run_folder import TEACHER
from Enviroment.tasks import TASKS, script_of

# Best first: students of PPO's teachers end higher than those of SAC's (Results/Pusher).
_ALGORITHMS = ("ppo", "sac")


def shipped_teachers(task_name: str) -> list[Path]:
    """Return the bundles of a task's teachers, the default one first.

    One in `Results` of the working directory replaces the installed one of the same name.
    """
    found: dict[str, Path] = {}
    for results in (SHIPPED, RESULTS):
        folder = results / task_name / "teachers"
        if folder.is_dir():
            found |= {path.name: path for path in folder.iterdir() if path.is_dir()}
    first = [name for name in _ALGORITHMS if name in found]
    return [found[name] for name in (*first, *sorted(set(found) - set(first)))]


def default_teacher(task_name: str) -> Path:
    """Return the bundle of a task's teacher: the PPO agent or, if there is none, the SAC agent.

    Raises:
        UserError: there is no teacher. The message has the command to train one.
    """
    for path in shipped_teachers(task_name):
        if path.name in _ALGORITHMS:
            return path
    folder = RESULTS / task_name / "teachers"
    task = TASKS.get(task_name)
    how = (
        f"Train one with `python Train_Teacher/{script_of(task_name)}`, or convert an agent of "
        "SB3 with `python -m Models.teacher convert`, and give its bundle (`teacher`)."
    )
    if task is not None:
        run = RESULTS.relative_to(RESULTS.parent) / task_name / "Teacher" / "PPO_0"
        how = (
            f"Train one with `python Train_Teacher/{task.script} --algo ppo` and give its bundle, "
            f"`teacher` {run / TEACHER}, or copy that to {folder / 'ppo'}."
        )
    raise UserError(f"There is no teacher of {task_name} in {folder}. {how}")
