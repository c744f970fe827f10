"""Measure how a student's action distribution differs from its teacher's, per episode."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from Enviroment.observations import FRAME
from Evaluation.evaluate.episodes import Act, Measure, Obs, agreement
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher


def kl_to_teacher(teacher: Teacher, student: StudentPolicy) -> Measure:
    """Return a measure of KL(teacher || student) in nats, summed over action dimensions.

    Teacher and student must have the same distribution family.
    """

    def measure(obs: Obs, actions: np.ndarray) -> np.ndarray:
        assert isinstance(obs, dict)
        batch = {name: torch.as_tensor(group) for name, group in obs.items()}
        with torch.no_grad():
            kl = teacher.distribution(batch).kl(student.distribution(batch))
        return kl.double().numpy()  # (n_envs,)

    return measure


def has_kl(teacher: Teacher, student: StudentPolicy) -> bool:
    """Return whether an exact KL exists between their distribution families."""
    return teacher.description.family == student.config.family


def can_be_asked(teacher: Teacher, *, blind: bool) -> bool:
    """Return whether the teacher gets valid observations: blind environments zero its frames."""
    return not (blind and FRAME in teacher.observation_groups)


def agreement_measures(
    teacher: Teacher, student: StudentPolicy, env: VecEnv, other: Act
) -> dict[str, Measure]:
    """Return the measures of action accuracy and, if it exists, of the KL.

    Args:
        other: the policy that does not act: the teacher in the student's episodes, the student in
            the teacher's.
    """
    measures = agreement(other, env.action_space)
    if has_kl(teacher, student):
        measures["kl"] = kl_to_teacher(teacher, student)
    return measures
