"""Proximal Policy Distillation: PPO with a KL to a teacher.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), algorithm 1. With lambda 0,
the same code is PPO.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from Algorithm.distributed import gather, means, of_all_ranks
from Algorithm.on_policy.config import OnPolicyConfig, PPDConfig, check_kl_direction
from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.losses import (
    Losses,
    clip_values,
    kl_to_teacher,
    normalise_advantages,
    ppd_distillation_loss,
    ppo_loss,
    probability_ratio,
    value_loss,
)
from Algorithm.on_policy.rollout import Minibatch
from Common.errors import UserError
from Models.distributions import Distribution
from Models.teacher.policy import Teacher


class PPD(OnPolicyStudent):
    """Maximise L_PPO + alpha H - lambda mean[KL(pi_T || pi_S) max(r, 1 - eps)].

    Usage::

        model = PPD("StudentPolicy", make_env("Pusher", 18, seed=0), teacher=Teacher.load(folder))
        model.learn(300_000, progress_bar=True)

    Args:
        teacher: may be None if `distill_lambda` is 0.
        config, settings: see `PPDConfig`; `distill_lambda` may be a `LambdaSchedule`.
        Others: see `OnPolicyStudent`.

    Logged: train/pg_loss, train/kl_loss (before lambda), train/value_loss, train/lambda,
    train/clip_fraction, train/approx_kl (to the old policy), train/grad_norm; and the loop's
    metrics.
    """

    config_class = PPDConfig

    def _configure(self, config: OnPolicyConfig) -> None:
        super()._configure(config)
        assert isinstance(config, PPDConfig)
        self._lambda_of_steps: Callable[[int], float] | None = None
        self.distill_lambda = FloatSchedule(config.distill_lambda)
        self.clip_range = FloatSchedule(config.clip_range)
        clip_vf = config.clip_range_vf
        self.clip_range_vf = None if clip_vf is None else FloatSchedule(clip_vf)
        self.target_kl = config.target_kl
        self.normalize_advantage = config.normalize_advantage
        self.detach_ratio = config.detach_ratio

    def set_teacher(
        self,
        teacher_model: Teacher | BaseAlgorithm,
        distill_lambda: float | Callable[[int], float] | None = None,
        kl_mode: str | None = None,
    ) -> None:
        """Set the teacher, and optionally lambda and the direction of the KL.

        Args:
            distill_lambda: a number, or a function of the env steps so far (the constructor's
                schedule is a function of the remaining progress); None: unchanged.
            kl_mode: "forward" or "reverse"; None: unchanged.
        """
        if kl_mode is not None:
            check_kl_direction(kl_mode, "kl_mode")
        now = distill_lambda(self.num_timesteps) if callable(distill_lambda) else distill_lambda
        if now is not None and not 0 <= now < math.inf:
            raise UserError(f"`distill_lambda` {now} must be finite and at least 0.")
        super().set_teacher(teacher_model)
        self.kl_direction = kl_mode or self.kl_direction
        if callable(distill_lambda):
            self._lambda_of_steps = distill_lambda
        elif distill_lambda is not None:
            self.distill_lambda, self._lambda_of_steps = FloatSchedule(distill_lambda), None

    def capture(self) -> dict[str, Any]:
        schedule = self.distill_lambda.value_schedule
        skill = schedule.skill if isinstance(schedule, LambdaSchedule) else None
        return {**super().capture(), "skill": skill}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        schedule = self.distill_lambda.value_schedule
        if isinstance(schedule, LambdaSchedule):
            schedule.skill = state["skill"]

    @property
    def needs_teacher(self) -> bool:
        ends = (self.distill_lambda(1.0), self.distill_lambda(0.0))
        return self._lambda_of_steps is not None or max(ends) > 0

    def current_lambda(self) -> float:
        """Return the current lambda.

        Raises:
            UserError: the schedule returns a number below 0, or none.
        """
        if self._lambda_of_steps is not None:
            value = float(self._lambda_of_steps(self.num_timesteps))
        else:
            value = self.distill_lambda(self._current_progress_remaining)
        if not value >= 0:  # NaN too, with which training would silently be PPO
            raise UserError(
                f"lambda is {value} after {self.num_timesteps} env steps. It must be at least 0."
            )
        return value

    def train(self) -> None:
        schedule = self.distill_lambda.value_schedule
        if isinstance(schedule, LambdaSchedule):  # only rank 0 evaluates the skill
            schedule.skill = gather(schedule.skill)[0]
        super().train()

    def minibatch_losses(self, student: Distribution, values: Tensor, batch: Minibatch) -> Losses:
        clip_range = self.clip_range(self._current_progress_remaining)
        distill_lambda = self.current_lambda()
        advantages = batch.advantages
        if self.normalize_advantage:
            advantages = normalise_advantages(advantages, of_all_ranks(advantages))
        log_prob = student.log_prob(batch.raw_actions)
        ratio = probability_ratio(log_prob, batch.old_log_prob)
        pg_loss = ppo_loss(ratio, advantages, clip_range)
        if self.clip_range_vf is not None:
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)
            values = clip_values(values, batch.old_values, clip_range_vf)
        v_loss = value_loss(values, batch.returns)
        critic = self.vf_coef * v_loss
        total = pg_loss + critic
        if self.ent_coef:
            total = total - self.ent_coef * student.entropy().mean()
        terms = {"pg_loss": pg_loss, "value_loss": v_loss}
        if distill_lambda > 0:
            if batch.teacher is None:  # `learn` checks only the beginning and end of the schedule
                raise UserError(
                    f"lambda is {distill_lambda}, and there is no teacher: call set_teacher()."
                )
            kl = kl_to_teacher(batch.teacher, student, self.kl_direction)
            kl_weight = ratio.detach() if self.detach_ratio else ratio
            kl_loss = ppd_distillation_loss(kl, kl_weight, clip_range)
            total = total + distill_lambda * kl_loss
            terms |= {"kl_loss": kl_loss, "kl": kl.mean()}
        with torch.no_grad():
            log_ratio = log_prob - batch.old_log_prob
            terms |= {
                "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
                "approx_kl": (ratio - 1 - log_ratio).mean(),
                "lambda": torch.full((), float(distill_lambda), device=log_prob.device),
            }
        return Losses(total, terms, critic)

    @property
    def may_end_early(self) -> bool:
        return self.target_kl is not None

    def ends_update(self, losses: Losses) -> bool:
        if self.target_kl is None:
            return False
        kl = means({"approx_kl": losses.terms["approx_kl"].item()})
        return kl["approx_kl"] > 1.5 * self.target_kl
