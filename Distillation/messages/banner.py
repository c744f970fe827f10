"""The banner at the start of a run: what is about to happen, in five lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from Common.commands.wording import aligned, shown_path
from Common.names import counted
from Common.runs.tracking import RunTracker
from Distillation.methods import ReadyMethod, Setting


def banner(setting: Setting, method: ReadyMethod, folder: Path, tracker: RunTracker) -> str:
    """Return five lines: task, method and teacher; budget; device; folder; W&B.

    Args:
        folder: the run folder.
    """
    precision = method.policy.config.precision
    threads = counted(torch.get_num_threads(), "thread")
    lines = {
        setting.task.name: f"{student_title(setting)}; {_teacher(setting)}",
        "budget": _budget(setting),
        "device": f"{setting.device}, {precision}, {threads}",
        "folder": shown_path(folder),
        "W&B": tracker.where(),
    }
    return aligned(lines)


def student_title(setting: Setting) -> str:
    """Return method and network of the student, such as `PPD, ImpaalaSmall 64x64`."""
    flags, (h, w) = setting.flags, setting.flags.frame_size
    network = flags.student.size or flags.student.mode
    seen = "" if flags.student.mode == "State" else " blind" if flags.student.blind else f" {h}x{w}"
    looks = "" if setting.task.looks is None else ", random looks"
    return f"{flags.method.chosen.title}, {network}{seen}{looks}"


def _teacher(setting: Setting) -> str:
    if not setting.flags.method.chosen.has_teacher:
        return "without a teacher"
    returns: Sequence[float] = setting.teacher_setup.baselines.get("teacher", {}).get(
        "validation", ()
    )
    known = f"return {np.mean(returns):.1f}" if len(returns) else "return unknown"
    noise = setting.flags.teaching.corrupt_teacher
    noisy = f" before noise of {noise:g} on its parameters" if noise else ""
    return f"teacher {shown_path(setting.teacher_setup.folder)} ({known}{noisy})"


def _budget(setting: Setting) -> str:
    flags = setting.flags
    unit = flags.method.chosen.counts
    if flags.method.chosen.family == "on_policy":
        envs = counted(flags.training.num_envs, "environment")
        steps = f"{flags.total_timesteps:,} {unit} in {envs}"
    elif flags.method.chosen.takes("rounds"):
        dagger = flags.dagger()
        steps = (
            f"{counted(dagger.rounds, 'round')} of {dagger.env_steps:,} env steps and "
            f"{dagger.gradient_steps:,} {unit}"
        )
    else:
        steps = f"{flags.clone().gradient_steps:,} {unit}"
    until = flags.training.until_skill
    goal = "" if until is None else f", at most: until skill {until:g}"
    return f"{steps}{goal}; an evaluation every {flags.eval_every:,}"
