"""Student-distill and teacher-distill: regression to the teacher, without a reward.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), algorithms 2 and 3. The two
differ only in the policy that acts.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from Algorithm.on_policy.config import DistillConfig
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.losses import Losses, kl_to_teacher, value_loss
from Algorithm.on_policy.rollout import Minibatch
from Models.distributions import Distribution


class StudentDistill(OnPolicyStudent):
    """Minimise mean KL(pi_T || pi_S) - alpha H + c mean (V_S - V_T)^2 while the student acts.

    One gradient step per rollout. The critic regresses to the teacher's value, in the task's own
    rewards; if the teacher has no critic, to GAE returns.

    Args:
        config, settings: see `DistillConfig`.
        Others: see `OnPolicyStudent`.

    Logged: train/kl, train/value_loss, train/entropy, train/grad_norm; and the loop's metrics.
    """

    config_class = DistillConfig
    uses_teacher_values = True

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
    """The same loss while the teacher acts.

    The training return is the teacher's, and is logged as such. Callbacks evaluate and save the
    student.
    """

    def acting_distribution(self, student: Distribution, obs: Any) -> Distribution:
        assert self.teacher is not None
        return self.teacher.distribution(obs)

    @property
    def return_key(self) -> str:
        return "rollout/teacher_ep_return"
