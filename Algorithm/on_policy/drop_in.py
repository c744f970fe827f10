"""PPD with the name, arguments and defaults of the paper's library sb3_distill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.sb3_arguments import refuse_sde
from Common.errors import UserError
from Models.teacher.policy import Teacher


class ProximalPolicyDistillation(PPD):
    """`PPD` for scripts written for sb3_distill (see docs/drop_in.md).

    Usage::

        model = ProximalPolicyDistillation("MlpPolicy", env, n_steps=128, batch_size=64)
        model.set_teacher(teacher_model, distill_lambda=1)
        model.learn(total_timesteps=2_000_000)

    The arguments are those of SB3's PPO, in the same order and with the same defaults. `use_sde`
    and custom rollout buffers are not supported.

    Raises:
        UserError: an argument has no equivalent here; or see `OnPolicyStudent`.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        refuse_sde(use_sde or sde_sample_freq != -1)
        if rollout_buffer_class is not None or rollout_buffer_kwargs:
            raise UserError(
                "ProximalPolicyDistillation has its own rollout buffer, with the teacher's "
                "labels. Leave out rollout_buffer_class and rollout_buffer_kwargs."
            )
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=batch_size,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            clip_range_vf=clip_range_vf,
            normalize_advantage=normalize_advantage,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            target_kl=target_kl,
            distill_lambda=1.0,
            detach_ratio=False,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def set_teacher(
        self,
        teacher_model: Teacher | BaseAlgorithm,
        distill_lambda: float | Callable[[int], float] | None = 1.0,
        kl_mode: str | None = "forward",
    ) -> None:
        """Set the teacher (see `PPD.set_teacher`).

        Args:
            teacher_model: a live SB3 model, whose weights are copied, or a loaded teacher.
            distill_lambda: a number, or a function of the env steps so far.
            kl_mode: "forward", KL(teacher || student), or "reverse".
        """
        super().set_teacher(teacher_model, distill_lambda, kl_mode)
