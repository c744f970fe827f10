"""The on-policy loop: collect a rollout, then train on minibatches with the loss of a subclass."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, ClassVar, Self

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from Algorithm import distributed
from Algorithm.acting import Actor
from Algorithm.augmentation import Augmenter
from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.finite import check_teacher
from Algorithm.on_policy.config import OnPolicyConfig, check_warmup
from Algorithm.on_policy.critic_warmup import critic_parameters
from Algorithm.on_policy.joint_statistics import join_statistics, moments
from Algorithm.on_policy.rollout import StudentRolloutBuffer
from Algorithm.on_policy.rollout_log import log_clock, log_critic, log_episodes, log_student
from Algorithm.on_policy.sb3_arguments import (
    ACTION_SPACES,
    SB3_POLICIES,
    check_policy,
    tensorboard_folder,
)
from Algorithm.on_policy.update import OnPolicyUpdate
from Algorithm.sequences import check_sequences
from Algorithm.teacher_view import normaliser_of, raw_observations, teacher_in
from Algorithm.truncation import truncation_bonus
from Common.device import upload
from Common.errors import UserError
from Enviroment.episode_env import EpisodeVecEnv
from Models.agreement import ActionAccuracy
from Models.distributions import Distribution
from Models.networks.fast_linear import speed_up
from Models.sb3.policies import (
    check_families,
    efficient,
    has_separate_critic,
    within_bounds,
    within_bounds_on_device,
)
from Models.student.policy import StudentPolicy, computed_on
from Models.student.spaces import default_config
from Models.teacher.policy import Teacher


class OnPolicyStudent(OnPolicyUpdate):
    """SB3's on-policy algorithm with a frozen teacher, for resumable training of a student.

    A subclass implements `minibatch_losses`. This class implements acting, truncation, labelling of
    a rollout by the teacher, minibatches, gradient clipping, checks for NaN, and logging. In a run
    of several ranks (`Algorithm.distributed`), `env`, `n_steps` and `batch_size` are per rank, and
    the same on each; `num_timesteps` and logged metrics are of all ranks.

    Args:
        policy: `StudentPolicy`, or one of SB3's actor-critic policies.
        teacher: labels every state: a `Teacher`, or a live SB3 model, which is copied and frozen;
            None if the subclass does not need one, or `set_teacher` follows.
        config: the settings; None: the method's defaults.
        augmentation: augmentation of observations in updates; acting is without.
        settings: single settings by name, which override `config`. An unknown name is a TypeError.
        Others: see SB3's `OnPolicyAlgorithm`.

    Raises:
        UserError: teacher and environment, or teacher and student, do not match; the warm-up or
            the augmentation does not fit the policy; or the policy is not supported.
    """

    uses_teacher_values: ClassVar[bool] = False  # whether the losses need the teacher's critic

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "StudentPolicy": StudentPolicy,
        **SB3_POLICIES,
    }

    config_class: ClassVar[type[OnPolicyConfig]]

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        teacher: Teacher | BaseAlgorithm | None = None,
        config: OnPolicyConfig | None = None,
        *,
        augmentation: AugmentationConfig | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        check_policy(policy, self.policy_aliases, policy_kwargs)
        config = dataclasses.replace(config or self.config_class(), **settings)
        # `_setup_model` makes it a teacher of the environment, also after SB3's `load`.
        self.teacher: Teacher | None = teacher  # pyright: ignore[reportAttributeAccessIssue]
        self.augmentation = augmentation or AugmentationConfig()
        super().__init__(
            policy,
            env,
            learning_rate=config.learning_rate,
            n_steps=config.n_steps,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            ent_coef=config.ent_coef,
            vf_coef=config.vf_coef,
            max_grad_norm=config.max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=StudentRolloutBuffer,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_folder(tensorboard_log),
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            supported_action_spaces=ACTION_SPACES,
            _init_setup_model=False,
        )
        self._configure(config)
        if _init_setup_model:
            self._setup_model()

    def _configure(self, config: OnPolicyConfig) -> None:
        """Set the attributes that SB3's class does not have. Subclasses add their own."""
        self.batch_size = config.batch_size
        self.n_epochs = config.n_epochs
        self.kl_direction = config.kl_direction
        self.sequence_length = config.sequence_length
        self.critic_warmup = config.critic_warmup
        self.gradient_steps = 0

    @property
    def needs_teacher(self) -> bool:
        """Whether training needs a teacher, because without one it would be another algorithm."""
        return True

    def acting_distribution(self, student: Distribution, obs: Any) -> Distribution:
        """Return the distribution that acts: the student's, unless a subclass overrides this.

        Args:
            obs: the teacher's observations.
        """
        return student

    @property
    def return_key(self) -> str:
        """Name of the metric of training returns, which depends on the acting policy."""
        return "rollout/ep_return"

    # -- set-up -----------------------------------------------------------------------------------

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As SB3, but leave this toolkit's frames as they are, whose channels always come first.

        SB3 takes the smallest side for the channels, and would transpose a stack that has more
        channels than rows or columns of pixels.
        """
        if isinstance(env, VecEnv) and isinstance(env.unwrapped, EpisodeVecEnv):
            return env
        return OnPolicyUpdate._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        # Environments of this toolkit define how frames are stacked; other stacks are kept whole.
        task = getattr(self.env, "task", None)
        self.rollout_buffer_kwargs = {"task": task}
        if self.teacher is not None:
            self.teacher = teacher_in(self.teacher, self.env)
        if issubclass(self.policy_class, StudentPolicy):
            family = self.teacher.description.family if self.teacher else None
            config = self.policy_kwargs.get("config") or default_config(
                self.observation_space, self.action_space, family
            )
            self.policy_kwargs = {**self.policy_kwargs, "config": computed_on(config, self.device)}
            if config.is_recurrent:
                length = check_sequences(self.sequence_length, self.n_steps, self.batch_size)
                self.rollout_buffer_kwargs["sequence_length"] = length
        self.policy_kwargs = efficient(self.policy_class, self.policy_kwargs)
        super()._setup_model()
        self._actor = Actor(self.policy, self.n_envs)
        distributed.seed_apart(self.seed)
        speed_up(self.policy)
        check_warmup(self.critic_warmup, self.n_steps * self.n_envs * distributed.world_size())
        self._critic_parameters = critic_parameters(self.policy) if self.critic_warmup else []
        self._augmenter = Augmenter(self.augmentation, self.policy)
        self._accuracy = ActionAccuracy(self.action_space)
        self._prepare_updates()
        if self.teacher is not None:
            self._take_teacher(self.teacher)

    def _take_teacher(self, teacher: Teacher) -> None:
        """Set a teacher of this environment (`teacher_in`). Raise UserError if it does not fit."""
        task = getattr(self.env, "task", None)
        name = teacher.description.task if task is None else task.name
        teacher.check_fits(name, self.observation_space, self.action_space)
        check_families(teacher.description.family, self.policy)
        normaliser_of(self.env)
        self.teacher = teacher.to(self.device)

    def set_teacher(self, teacher_model: Teacher | BaseAlgorithm) -> None:
        """Set the teacher: a loaded one, or a live SB3 model, whose weights are copied and frozen.

        Raises:
            UserError: the teacher does not fit the environment or the student.
        """
        self._take_teacher(teacher_in(teacher_model, self.env))

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
        """Train for at least `total_timesteps` env steps, in whole rollouts.

        Raises:
            UserError: the method needs a teacher, and there is none.
        """
        if self.needs_teacher and self.teacher is None:
            raise UserError(
                f"{type(self).__name__} has no teacher. A saved model does not include it: call "
                "set_teacher() before learn(), or pass teacher= to load()."
            )
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        assert self.env is not None
        distributed.share_weights(self.policy)
        callback.on_training_start(locals(), globals())
        while self.num_timesteps < total_timesteps:
            before = moments(self.env)
            goes_on = self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
            join_statistics(self.env, before)
            if not all(distributed.gather(goes_on)):
                break
            self._iteration += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            self.label_rollout()
            self.train()
            at_end = self.num_timesteps >= total_timesteps
            if log_interval and (at_end or self._iteration % log_interval == 0):
                self.dump_logs(self._iteration)
        callback.on_training_end()
        return self

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout as SB3, with raw actions. Return False if a callback ends training."""
        assert isinstance(rollout_buffer, StudentRolloutBuffer)
        assert self._last_obs is not None and self._last_episode_starts is not None
        started = time.perf_counter()
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        if self.on_boundary is not None:
            self.on_boundary()
        if any(distributed.gather(self.stop_training)):
            return False
        stays = getattr(env.unwrapped, "gives_tensors", False)  # on the device
        bounded = within_bounds_on_device if stays else within_bounds
        for _ in range(n_rollout_steps):
            teacher_obs = raw_observations(env, self.teacher)
            with torch.no_grad():
                obs = upload(self._last_obs, self.device)  # pyright: ignore[reportArgumentType, reportCallIssue]
                hidden = self._actor.hidden
                student, values = self._actor(obs, self._last_episode_starts)
                seen = None if teacher_obs is None else upload(teacher_obs, self.device)
                actor = self.acting_distribution(student, obs if seen is None else seen)
                raw = actor.sample()
            new_obs, rewards, dones, infos = env.step(
                bounded(self.policy, actor.to_env_action(raw))  # pyright: ignore[reportArgumentType]
            )
            self.num_timesteps += env.num_envs * distributed.world_size()
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            rewards = rewards + truncation_bonus(self._actor.values_of, infos, dones, self.gamma)
            rollout_buffer.add_step(
                obs, raw, rewards, self._last_episode_starts, student, values, seen, hidden
            )
            self._last_obs, self._last_episode_starts = new_obs, dones  # pyright: ignore[reportAttributeAccessIssue]
        with torch.no_grad():
            if has_separate_critic(self.policy):
                values = self.policy.predict_values(rollout_buffer.flat_obs())  # pyright: ignore[reportArgumentType]
                rollout_buffer.set_values(values)
            last_values = self._actor.values(self._last_obs, self._last_episode_starts)
        rollout_buffer.compute_returns_and_advantage(last_values, self._last_episode_starts)
        self._rollout_seconds = time.perf_counter() - started
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def label_rollout(self) -> None:
        """Label the whole rollout by the teacher once, instead of per minibatch and epoch."""
        buffer, student = self.rollout_buffer, self.rollout_buffer.flat_student()
        if self.teacher is None:
            log_student(self.logger, student, None, self._accuracy)
            return
        obs = buffer.flat_teacher_obs(self.teacher.observation_groups)
        teacher = self.teacher.distribution(obs)
        check_teacher(teacher, self.num_timesteps)
        buffer.teacher = teacher
        if self.uses_teacher_values:
            buffer.teacher_values = self.teacher.value(obs)
        log_student(self.logger, student, teacher, self._accuracy)

    def dump_logs(self, iteration: int = 0) -> None:
        """Log metrics of the rollout, the update and the time."""
        log_episodes(self.logger, self, self.return_key)
        log_critic(self.logger, self.rollout_buffer)
        log_clock(self.logger, self, self._rollout_seconds, self._update_seconds)
        self.logger.dump(step=self.num_timesteps)
