"""Measure how a student's action distribution differs from its teacher's, per episode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from Algorithm.acting import Actor, is_recurrent
from Enviroment.observations import FRAME
from Evaluation.evaluate.episodes import Act, Measure, Obs, agreement
from Models.distributions import Distribution
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher


def kl_to_teacher(teacher: Teacher, student: StudentPolicy) -> Measure:
    """Return a measure of KL(teacher || student) in nats, summed over action dimensions.

    Teacher and student must have the same distribution family. The hidden state of a recurrent
    student covers each episode from its beginning, whichever policy acts.
    """
    if is_recurrent(student):
        return _RecurrentKl(teacher, student)

    def measure(obs: Obs, actions: np.ndarray) -> np.ndarray:
        return _kl(teacher, _tensors(obs), student.distribution)

    return measure


class _RecurrentKl:
    def __init__(self, teacher: Teacher, student: StudentPolicy) -> None:
        self._teacher, self._student = teacher, student
        self.reset(np.zeros(0, bool))

    def __call__(self, obs: Obs, actions: np.ndarray) -> np.ndarray:
        kl = _kl(
            self._teacher,
            _tensors(obs),
            lambda batch: self._actor.distribution(batch, self._begins),
        )
        self._begins = np.zeros(len(actions), bool)
        return kl

    def reset(self, begins: np.ndarray) -> None:
        """Reset the hidden state where episodes begin, see `acts.begin_episodes`."""
        if begins.all():
            self._actor, self._begins = Actor(self._student, len(begins)), begins
        else:
            self._begins = self._begins | begins


def _tensors(obs: Obs) -> dict[str, Tensor]:
    assert isinstance(obs, dict)
    return {name: torch.as_tensor(group) for name, group in obs.items()}


@torch.no_grad()
def _kl(
    teacher: Teacher,
    batch: dict[str, Tensor],
    student: Callable[[dict[str, Tensor]], Distribution],
) -> np.ndarray:
    return teacher.distribution(batch).kl(student(batch)).double().numpy()  # (n_envs,)


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
