"""What the training of a teacher prints about itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from Common.commands.wording import aligned, shown_path, typed_command
from Common.names import counted
from Common.runs.run_folder import TEACHER
from Common.runs.tracking import RunTracker
from Enviroment.tasks import Task
from Train_Teacher.settings.config import TeacherRun

_STUDENT = "ImpaalaSmall"  # in the command that distils the teacher
_LONGER = 2  # times as many env steps, in the command that trains longer


def banner(
    task: Task, run: TeacherRun, folder: Path, device: torch.device, tracker: RunTracker
) -> str:
    """Return five lines: task and algorithm; budget; device; folder; W&B."""
    settings = run.settings
    seen = "frames" if task.is_game else "the state"
    envs = counted(settings.num_envs, "environment")
    return aligned(
        {
            task.name: f"a teacher of {seen} by {run.algo.upper()}",
            "budget": f"{settings.total_timesteps:,} env steps in {envs}; an evaluation every "
            f"{run.eval_every:,}",
            "device": f"{device}, float32, {counted(run.threads, 'thread')}",
            "folder": shown_path(folder),
            "W&B": tracker.where(),
        }
    )


def ending(run: TeacherRun) -> float:
    """Return the time after training in evaluations: three policies on two ranges of seeds."""
    return 3 * 2 * run.baseline_episodes / run.eval_episodes


def next_commands(task: Task, run: TeacherRun, folder: Path, command: Sequence[str]) -> list[str]:
    """Return three commands: describe the teacher, distil it, and train it longer.

    Args:
        folder: the run folder.
        command: the command of the run.
    """
    bundle = shown_path(folder / TEACHER)
    longer = str(_LONGER * run.settings.total_timesteps)
    script = f"Distillation/{task.script}".split()
    return [
        typed_command(("python", "-m", "Models.teacher", "inspect", bundle)),
        typed_command(("python", *script, "--PPD", "--mode", _STUDENT, "--teacher", bundle)),
        typed_command((*_without_ending(command), "--resume", "--total_timesteps", longer)),
    ]


def _without_ending(command: Sequence[str]) -> list[str]:
    """Return the command without its total and without what becomes of its folder."""
    kept, is_value = [], False
    for word in command:
        name, _, value = word.partition("=")
        is_total = name in ("--total_timesteps", "--total-timesteps")
        if not (is_value or is_total or word in ("--resume", "--overwrite")):
            kept.append(word)
        is_value = is_total and not value
    return kept
