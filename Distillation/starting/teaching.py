"""Who teaches in a run: the teacher of a bundle, or an imperfect copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv

from Distillation.flags.resolve import Flags
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Models.teacher.adoption import adopt
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Baselines, Teacher, TeacherDescription
from Models.teacher.shipped import default_teacher


@dataclass(frozen=True)
class Teaching:
    """The teacher, and what its student is measured against."""

    teacher: Teacher  # with the noise of --corrupt_teacher, where it is given
    bundle: TeacherDescription  # of the teacher as its bundle has it, always without

    @property
    def baselines(self) -> Baselines:
        """Skill 1 is the teacher without noise, whoever taught."""
        return self.bundle.baselines

    @property
    def known_by(self) -> dict[str, str]:
        """What must be the same when a run goes on, beside the weights: all that the teacher acts
        and values by, and the returns that the student is measured against.
        """
        return {
            "identity": self.teacher.description.identity,
            "baselines": self.bundle.baselines_sha256,
        }

    @property
    def notes(self) -> dict[str, Any]:
        """What a run's configuration and its student say of the noise; empty without."""
        d = self.teacher.description
        if d is self.bundle:
            return {}
        noise = {"sigma": d.corruption_sigma, "seed": d.corruption_seed}
        return {"corruption": {**noise, "uncorrupted_sha256": self.bundle.sha256}}

    def all_baselines(self, env: VecEnv, task: Task, n_episodes: int) -> Baselines:
        """The bundle's baselines, and what it lacks, played for here on the first evaluation
        seeds: the return of a teacher with noise, `corrupted_teacher`, or of one without that was
        never measured on this task, `teacher`.
        """
        name = "corrupted_teacher" if self.notes else "teacher"
        if name in self.baselines:
            return self.baselines
        act = policy_act(self.teacher, deterministic=task.judged_by_mode)
        stats = run_episodes(act, env, task, seeds.EVALUATION.start, n_episodes)
        return {**self.baselines, name: {"evaluation": stats.returns.tolist()}}


def load_teaching(task: Task, flags: Flags, device: torch.device) -> Teaching:
    """The teacher that the flags name, with the noise that they ask for.

    Raises:
        UserError: there is no such bundle, it is damaged, or has such noise already.
    """
    folder = flags.teaching.teacher or default_teacher(task.name)
    teacher = adopt(Teacher.load(folder, device, min_std=flags.teaching.min_teacher_std), task)
    bundle, sigma = teacher.description, flags.teaching.corrupt_teacher
    if sigma:
        teacher = corrupt(teacher, sigma, seeds.model(flags.training.run_index))
    return Teaching(teacher, bundle)
