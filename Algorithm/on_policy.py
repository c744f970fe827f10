"""The on-policy loop: collect a rollout, then minibatches over a loss that a subclass gives."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import explained_variance, obs_as_tensor, safe_mean
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from Algorithm.losses import Losses
from Algorithm.rollout import Minibatch, Obs, StudentRolloutBuffer
from Enviroment.errors import UserError
from Models.distributions import Distribution
from Models.sb3_policy import distribution_and_value, family_of, within_bounds
from Models.student import StudentConfig, StudentPolicy
from Models.teacher import Teacher

_ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class OnPolicyStudent(OnPolicyAlgorithm, ABC):
    """SB3's on-policy algorithm with a frozen teacher beside the student.

    A subclass gives `minibatch_losses`. Everything else is here once: acting, truncation,
    labelling a rollout with the teacher, minibatches, clipping, checks for NaN, logging.

    Args:
        teacher: labels every state; None where the subclass can do without.
        batch_size: samples a minibatch; None: the whole rollout.
        The others are those of SB3's `OnPolicyAlgorithm`.

    Raises:
        UserError: teacher and environment, or teacher and student, do not fit each other.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "StudentPolicy": StudentPolicy,
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
        "MultiInputPolicy": MultiInputActorCriticPolicy,
    }
    rollout_buffer: StudentRolloutBuffer

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        teacher: Teacher | None,
        learning_rate: float | Schedule,
        n_steps: int,
        batch_size: int | None,
        n_epochs: int,
        gamma: float,
        gae_lambda: float,
        ent_coef: float,
        vf_coef: float,
        max_grad_norm: float,
        policy_kwargs: dict[str, Any] | None,
        stats_window_size: int,
        verbose: int,
        seed: int | None,
        device: torch.device | str,
        _init_setup_model: bool = True,
    ) -> None:
        self.teacher = teacher
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.gradient_steps = 0
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=StudentRolloutBuffer,
            stats_window_size=stats_window_size,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            supported_action_spaces=_ACTION_SPACES,
            _init_setup_model=_init_setup_model,
        )

    @abstractmethod
    def minibatch_losses(self, student: Distribution, values: Tensor, batch: Minibatch) -> Losses:
        """The loss of one minibatch, from the student's one forward pass on it.

        Args:
            student: the student's distributions, with gradient.
            values: the critic's estimates `(B,)`, with gradient.
        """

    @property
    def needs_teacher(self) -> bool:
        """Whether training without a teacher would silently be another algorithm."""
        return True

    def acting_distribution(self, student: Distribution, obs: Any) -> Distribution:
        """Whose actions are played: the student's own, unless a subclass has another act."""
        return student

    @property
    def return_key(self) -> str:
        """The metric under which the training episodes' return is logged: by who acted."""
        return "rollout/ep_return"

    # -- set-up -----------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        # Environments of this project say how they stack frames; others' are kept as given.
        task = getattr(self.env, "task", None)
        self.rollout_buffer_kwargs = {"task": task}
        if self.teacher is not None and issubclass(self.policy_class, StudentPolicy):
            config = StudentConfig(family=self.teacher.description.family)
            self.policy_kwargs.setdefault("config", config)
        super()._setup_model()
        if self.teacher is not None:
            self._take_teacher(self.teacher)

    def _take_teacher(self, teacher: Teacher) -> None:
        """Raises UserError if it does not fit the environment or the student."""
        task = getattr(self.env, "task", None)
        name = teacher.description.task if task is None else task.name
        teacher.check_fits(name, self.observation_space, self.action_space)
        _check_families(teacher.description.family, family_of(self.policy))
        self.teacher = teacher.to(self.device)

    def set_teacher(self, teacher_model: Teacher | BaseAlgorithm) -> None:
        """Learn from this teacher from now on: one of a bundle, or a live SB3 model, whose weights
        are copied and frozen.

        Raises:
            UserError: it does not fit the environment or the student.
        """
        is_live = isinstance(teacher_model, BaseAlgorithm)
        self._take_teacher(Teacher.from_sb3(teacher_model) if is_live else teacher_model)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "teacher"]

    # -- the loop ---------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "OnPolicyStudent",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for at least `total_timesteps` environment steps, in whole rollouts.

        Raises:
            UserError: there is no teacher though the method needs one.
        """
        if self.needs_teacher and self.teacher is None:
            raise UserError(
                f"{type(self).__name__} has no teacher. A saved model does not keep it: pass "
                "teacher= to load(), or set the attribute."
            )
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        assert self.env is not None
        callback.on_training_start(locals(), globals())
        iteration = 0
        while self.num_timesteps < total_timesteps:
            if not self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps):
                break
            iteration += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            self.label_rollout()
            self.train()
            at_end = self.num_timesteps >= total_timesteps
            if log_interval and (at_end or iteration % log_interval == 0):
                self.dump_logs(iteration)
        callback.on_training_end()
        return self

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """SB3's collection, with raw actions kept; False if a callback ended the training."""
        assert isinstance(rollout_buffer, StudentRolloutBuffer)
        assert self._last_obs is not None and self._last_episode_starts is not None
        started = time.perf_counter()
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            with torch.no_grad():
                obs = obs_as_tensor(self._last_obs, self.device)  # pyright: ignore[reportArgumentType]
                student, values = distribution_and_value(self.policy, obs)
                actor = self.acting_distribution(student, obs)
                raw = actor.sample()
                log_prob = student.log_prob(raw)
            new_obs, rewards, dones, infos = env.step(
                within_bounds(self.policy, actor.to_env_action(raw))
            )
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            rewards = rewards + self._truncation_bootstrap(infos, dones)
            rollout_buffer.add_step(
                self._last_obs,  # pyright: ignore[reportArgumentType]
                raw,
                rewards,
                self._last_episode_starts,
                values,
                log_prob,
                student,
            )
            self._last_obs, self._last_episode_starts = new_obs, dones  # pyright: ignore[reportAttributeAccessIssue]
        with torch.no_grad():
            last_values = self._values(self._last_obs)
        rollout_buffer.compute_returns_and_advantage(last_values, self._last_episode_starts)
        self._rollout_seconds = time.perf_counter() - started
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def label_rollout(self) -> None:
        """Ask the teacher once for the whole rollout, not in every minibatch of every epoch."""
        buffer, student = self.rollout_buffer, self.rollout_buffer.flat_student()
        self.logger.record("rollout/entropy", student.entropy().mean().item())
        if self.teacher is None:
            return
        obs = self._teacher_obs()
        teacher = self.teacher.distribution(obs)
        for name, value in teacher.params().items():
            if not value.isfinite().all():
                raise UserError(
                    f"The teacher's {name} is not finite at environment step "
                    f"{self.num_timesteps}. The student's weights were not touched by this rollout."
                )
        buffer.teacher = teacher
        buffer.teacher_values = self.teacher.value(obs)
        self.logger.record("rollout/kl", teacher.kl(student).mean().item())
        self.logger.record("rollout/action_accuracy", action_accuracy(student, teacher))

    def _teacher_obs(self) -> Tensor | dict[str, Tensor]:
        """What the teacher saw of the rollout; one that was trained on no groups sees the state."""
        assert self.teacher is not None
        if not isinstance(self.observation_space, spaces.Dict):
            return self.rollout_buffer.flat_group(None)
        groups = self.teacher.observation_groups
        return {group: self.rollout_buffer.flat_group(group) for group in groups}

    def train(self) -> None:
        """Epochs of minibatches over the rollout."""
        started = time.perf_counter()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        logged: dict[str, list[float]] = defaultdict(list)
        for epoch in range(self.n_epochs):
            for i, batch in enumerate(self.rollout_buffer.minibatches(self.batch_size)):
                student, values = distribution_and_value(self.policy, batch.obs)
                losses = self.minibatch_losses(student, values, batch)
                if epoch == i == 0:
                    log_ratio = student.log_prob(batch.raw_actions) - batch.old_log_prob
                    self.logger.record("train/ratio_first", log_ratio.exp().mean().item())
                grad_norm = self._gradient_step(losses.total)
                for name, value in {**losses.terms, "grad_norm": grad_norm}.items():
                    logged[name].append(value.item())
            self._n_updates += 1
        for name, values_ in logged.items():
            self.logger.record(f"train/{name}", float(np.mean(values_)))
        self._update_seconds = time.perf_counter() - started

    def _gradient_step(self, loss: Tensor) -> Tensor:
        """One optimizer step, unless it would spoil the weights; returns the gradient's norm."""
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not (loss.isfinite() and norm.isfinite()):
            raise UserError(
                f"The {'gradient' if loss.isfinite() else 'loss'} is not finite at gradient step "
                f"{self.gradient_steps} (environment step {self.num_timesteps}). The weights are "
                "those of the step before. A smaller learning rate or lambda may help."
            )
        self.policy.optimizer.step()
        self.gradient_steps += 1
        return norm

    # -- acting -----------------------------------------------------------------------------------

    def _values(self, obs: Any) -> Tensor:
        return self.policy.predict_values(obs_as_tensor(obs, self.device)).flatten()  # pyright: ignore[reportArgumentType]

    def _truncation_bootstrap(self, infos: list[dict[str, Any]], dones: np.ndarray) -> np.ndarray:
        """gamma V(terminal observation) where a time limit, not the task, ended the episode."""
        bonus = np.zeros(len(dones), np.float32)
        cut = [i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)]
        if cut:
            terminal = _stack_obs([infos[i]["terminal_observation"] for i in cut])
            with torch.no_grad():
                bonus[cut] = self.gamma * self._values(terminal).cpu().numpy()
        return bonus

    # -- logging ----------------------------------------------------------------------------------

    def dump_logs(self, iteration: int = 0) -> None:
        """One logging point: what the rollout, the update and the clock have to say."""
        record: Callable[..., None] = self.logger.record
        if self.ep_info_buffer:
            record(self.return_key, safe_mean([info["r"] for info in self.ep_info_buffer]))
            record("rollout/ep_length", safe_mean([info["l"] for info in self.ep_info_buffer]))
        buffer = self.rollout_buffer
        record(
            "train/explained_variance",
            explained_variance(buffer.values.flatten(), buffer.returns.flatten()),
        )
        steps = self.n_steps * self.n_envs
        record("time/env_steps", self.num_timesteps)
        record("time/gradient_steps", self.gradient_steps)
        record("time/rollout_seconds", self._rollout_seconds)
        record("time/update_seconds", self._update_seconds)
        seconds = self._rollout_seconds + self._update_seconds
        record("time/steps_per_second", steps / seconds)
        record("time/seconds", (time.time_ns() - self.start_time) / 1e9)
        self.logger.dump(step=self.num_timesteps)


def action_accuracy(student: Distribution, teacher: Distribution) -> float:
    """1 - mean squared difference of the two modes, or for discrete actions the share of equal
    ones (the Pusher toolkit's "accuracy"); squashed actions are compared in [-1, 1].
    """
    ours, theirs = (d.to_env_action(d.mode()) for d in (student, teacher))
    if not ours.is_floating_point():
        return (ours == theirs).float().mean().item()
    return 1 - (ours - theirs).square().mean().item()


def _stack_obs(observations: list[Obs]) -> Obs:
    first = observations[0]
    if isinstance(first, dict):
        return {key: np.stack([obs[key] for obs in observations]) for key in first}  # pyright: ignore[reportArgumentType, reportCallIssue]
    return np.stack(observations)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _check_families(teacher: str, student: str) -> None:
    if teacher != student:
        raise UserError(
            f"The teacher's actions are {teacher}, the student's {student}: their KL is infinite "
            f"one way and has no closed form the other. Give the student the family {teacher}."
        )
