"""Start the student's critic as the teacher's (`--teacher_critic`).

A value is in the units of the rewards that it was trained on, and holds for one discount. So the
student's critic has the teacher's layers, its rewards keep the scale of the teacher's, and the
discounts have to be equal.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Distillation.flags.resolve import Flags
from Distillation.starting.teaching import TeacherSetup
from Models.student.config import StudentConfig
from Models.student.normaliser import OBS_CLIP
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher, TeacherDescription


def check_teacher_critic(flags: Flags, teacher_setup: TeacherSetup) -> None:
    """Check that a student's critic can be initialised as that of the teacher.

    Raises:
        UserError: it has another kind of critic, or the run has another discount.
    """
    d, gamma = teacher_setup.bundle, flags.training.gamma
    where = f"--teacher_critic: the teacher {teacher_setup.folder}"
    if d.value_kind != "state" or not _sees_the_normalised_state(d):
        raise UserError(
            f"{where} ({d.algo.upper()}) has no critic of one value of the normalised state. A "
            "student's critic can only be initialised as such a critic, which PPO has on a vector. "
            "Leave it out, or give another --teacher."
        )
    if d.gamma != gamma:
        raise UserError(
            f"{where} has a discount of {d.gamma}, this run {gamma}, so its values do not apply to "
            f"this run. Give --gamma {d.gamma}."
        )


def _sees_the_normalised_state(d: TeacherDescription) -> bool:
    whole = not (d.observation or d.state_parts or d.has_critic_encoder)
    return whole and d.normaliser_clip == OBS_CLIP and d.n_critics == d.n_quantiles == 1


def with_critic_of(teacher: TeacherDescription, config: StudentConfig) -> StudentConfig:
    """Return the student's configuration with the layers of the teacher's critic."""
    return replace(config, critic_head=teacher.critic_layers, critic_activation=teacher.activation)


def give_critic(teacher: Teacher, policy: StudentPolicy) -> None:
    """Copy the teacher's critic into a student of `with_critic_of`."""
    policy.critic.load_state_dict(teacher.critics[0].state_dict())


def keep_reward_scale(env: VecNormalize, teacher: TeacherDescription) -> None:
    """Scale the rewards as in the training of the teacher's critic, without statistics."""
    env.training = False
    env.ret_rms.var = np.array(teacher.reward_scale**2 - env.epsilon)
