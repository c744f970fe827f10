"""Load the teacher of a run, optionally with noise on its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv

from Distillation.flags.resolve import Flags
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Models.teacher.adoption import adopt
from Models.teacher.corruption import corrupt
from Models.teacher.limits import MEAN_MARGIN
from Models.teacher.policy import Baselines, Teacher, TeacherDescription
from Models.teacher.shipped import default_teacher


@dataclass(frozen=True)
class TeacherSetup:
    """The teacher, and the baselines of its student."""

    teacher: Teacher  # with the noise of --corrupt_teacher, if given
    bundle: TeacherDescription  # of the teacher without noise
    folder: Path  # of the bundle, or the teacher run that holds it

    @property
    def baselines(self) -> Baselines:
        """Return the baselines of the bundle: skill 1 is the teacher without noise."""
        return self.bundle.baselines

    @property
    def identifiers(self) -> dict[str, str]:
        """Return hashes that must match on resume, in addition to that of the weights.

        They cover everything that determines the teacher's actions and values, and the baselines.
        """
        return {
            "identity": self.teacher.description.identity,
            "baselines": self.bundle.baselines_sha256,
        }

    @property
    def corruption_record(self) -> dict[str, Any]:
        """Return the record of the noise for configuration and bundle; empty without noise."""
        d = self.teacher.description
        if d is self.bundle:
            return {}
        noise = {"sigma": d.corruption_sigma, "seed": d.corruption_seed}
        return {"corruption": {**noise, "uncorrupted_sha256": self.bundle.sha256}}

    def all_baselines(
        self, env: VecEnv, task: Task, n_episodes: int
    ) -> tuple[Baselines, Baselines]:
        """Return the bundle's returns and successes, with those of this run's teacher.

        If the bundle lacks it on as many evaluation seeds, it is measured on them: as
        `corrupted_teacher` for a teacher with noise, otherwise as `teacher`.
        """
        name = "corrupted_teacher" if self.corruption_record else "teacher"
        if len(self.baselines.get(name, {}).get("evaluation", ())) >= n_episodes:
            return self.baselines, self.bundle.successes
        act = policy_act(self.teacher, deterministic=task.judged_by_mode)
        stats = run_episodes(act, env, task, seeds.EVALUATION.start, n_episodes)
        successes = {**self.bundle.successes, name: {}}
        if stats.successes is not None:
            successes[name] = {"evaluation": stats.successes}
        return {**self.baselines, name: {"evaluation": stats.returns.tolist()}}, successes


def load_teacher_setup(task: Task, flags: Flags, device: torch.device) -> TeacherSetup:
    """Return the teacher of the flags, with their noise.

    Raises:
        UserError: there is no such bundle, it is damaged, or its teacher already has noise.
    """
    folder = flags.teaching.teacher or default_teacher(task.name)
    margin = MEAN_MARGIN if flags.teaching.clip_teacher_mean else None
    limits = flags.teaching.min_teacher_std, margin
    teacher = adopt(Teacher.load(folder, device, *limits), task)
    bundle, sigma = teacher.description, flags.teaching.corrupt_teacher
    if sigma:
        teacher = corrupt(teacher, sigma, seeds.model(flags.training.run_index))
    return TeacherSetup(teacher, bundle, folder)
