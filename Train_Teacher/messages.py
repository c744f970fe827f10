"""What the training of a teacher prints about itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from Common.commands.wording import aligned, shown_path, typed_command
from Common.names import counted
from Common.runs.run_folder import TEACHER
from Common.runs.tracking import RunTracker
from Enviroment.env_settings import env_settings_words, wrapper_words
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
    distil = _distillation(task, command, bundle)
    return [
        typed_command(("python", "-m", "Models.teacher", "inspect", bundle)),
        typed_command((*distil, "--PPD", "--mode", _STUDENT)),
        typed_command((*_without_ending(command), "--resume", "--total_timesteps", longer)),
    ]


def blind_advice(task: Task, teacher: Path, command: Sequence[str]) -> str:
    """Return the commands that measure the zero of skill in a user's own task.

    Args:
        teacher: its bundle.
        command: the command of the run.
    """
    bundle = shown_path(teacher)
    student = (*_distillation(task, command, bundle), "--PPD", "--mode", _STUDENT, "--blind")
    environment = ("--env_id", task.env_id, *wrapper_words(task))
    measure = ("python", "-m", "Evaluation.blind", "RUN", "--teacher", bundle, *environment)
    return (
        "Skill also needs the return of a blind student, which is trained once per task:\n"
        f"  {typed_command(student)}\n  {typed_command(measure)}\n"
        "If students sense joints, give --proprio to this student and to all others, the same."
    )


def _distillation(task: Task, command: Sequence[str], bundle: str) -> tuple[str, ...]:
    """Return the command that distils a teacher, without its method."""
    script = f"Distillation/{task.script}".split()
    own = [*env_settings_words(task), *_camera_words(task, command)] if task.custom else []
    return ("python", *script, *own, "--teacher", bundle)


def _camera_words(task: Task, command: Sequence[str]) -> list[str]:
    """Return the flag of the camera as it was typed; a placeholder if one is needed."""
    if task.has_frames and not task.cameras:  # its own pictures
        return []
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--camera", default="CAMERA")
    return ["--camera", parser.parse_known_args(list(command))[0].camera]


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
