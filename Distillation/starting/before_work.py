"""Check what a run needs, before any work."""

from __future__ import annotations

from Common.runs.tensorboard_files import check_tensorboard
from Distillation.flags.resolve import Flags
from Distillation.starting.teacher_critic import check_teacher_critic
from Distillation.starting.teaching import TeacherSetup
from Evaluation.evaluate.skill_target import SkillTarget


def check_before_work(flags: Flags, teacher_setup: TeacherSetup) -> None:
    """Check that packages and teacher have what the flags need.

    Raises:
        UserError: a package is missing, a return that the skill of `--until_skill` needs, or the
            critic that `--teacher_critic` copies.
    """
    if flags.run.tensorboard:
        check_tensorboard()
    if flags.training.teacher_critic:
        check_teacher_critic(flags, teacher_setup)
    if flags.training.until_skill is not None:
        baselines = {
            name: returns["validation"] for name, returns in teacher_setup.baselines.items()
        }
        SkillTarget.of(flags.training.until_skill, baselines, flags.run.eval_episodes)
