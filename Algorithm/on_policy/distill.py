"""Student-distill and teacher-distill: regression to the teacher, without a reward.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), algorithms 2 and 3. They
are one algorithm, and differ in who acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from Algorithm.augmentation import AugmentationConfig
from Algorithm.on_policy.config import OnPolicyConfig, check_kl_direction
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.losses import Losses, kl_to_teacher, value_loss
from Algorithm.on_policy.rollout import Minibatch
from Common.errors import UserError
from Models.distributions import Distribution
from Models.teacher.policy import Teacher


@dataclass(frozen=True)
class DistillConfig(OnPolicyConfig):
    """The paper's settings, for both."""

    n_steps: int = 5  # env steps a rollout, each environment

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_steps < 1:
            raise UserError(f"`n_steps` {self.n_steps} must be at least 1.")


class StudentDistill(OnPolicyStudent):
    """minimise mean KL(pi_T || pi_S) - alpha H + c mean (V_S - V_T)^2 where the student acts.

    One gradient step on each rollout. The critic regresses to the teacher's value, in the task's
    own rewards; to GAE returns where the teacher has no critic.

    Args:
        policy: `StudentPolicy`, or one of SB3's actor-critic policies.
        kl_direction: "forward", KL(teacher || student), or "reverse".
        critic_warmup: env steps in which the critic alone learns.
        augmentation: of the student's observations in updates.
        The others are SB3's.

    Logged: train/kl, train/value_loss, train/entropy, train/grad_norm; and the loop's own.
    """

    uses_teacher_values = True

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        teacher: Teacher | None = None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 5,
        gamma: float = 0.999,
        gae_lambda: float = 0.9,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        kl_direction: str = "forward",
        critic_warmup: int = 0,
        augmentation: AugmentationConfig | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        check_kl_direction(kl_direction)
        self.kl_direction = kl_direction
        super().__init__(
            policy,
            env,
            teacher,
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=None,
            n_epochs=1,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            critic_warmup=critic_warmup,
            augmentation=augmentation,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def minibatch_losses(self, student: Distribution, values: Tensor, batch: Minibatch) -> Losses:
        assert batch.teacher is not None  # `learn` refuses to start without one
        kl = kl_to_teacher(batch.teacher, student, self.kl_direction).mean()
        entropy = student.entropy().mean()
        targets = batch.returns if batch.teacher_values is None else batch.teacher_values
        v_loss = value_loss(values, targets)
        critic = self.vf_coef * v_loss
        total = kl - self.ent_coef * entropy + critic
        return Losses(total, {"kl": kl, "value_loss": v_loss, "entropy": entropy}, critic)


class TeacherDistill(StudentDistill):
    """The same where the teacher acts. The training return is the teacher's, and is named so;
    what callbacks evaluate and save is the student.
    """

    def acting_distribution(self, student: Distribution, obs: Any) -> Distribution:
        assert self.teacher is not None
        return self.teacher.distribution(obs)

    @property
    def return_key(self) -> str:
        return "rollout/teacher_ep_return"
