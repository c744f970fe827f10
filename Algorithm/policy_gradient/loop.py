"""The loop of the policy gradient methods: complete episodes, then one update on all of them.

With several environments an update waits until each has played its episodes with the same policy;
then all are reset. Meanwhile, further steps of an environment count as env steps but are not used
for training, so environments with episodes of very different lengths waste some
(`rollout/unused_share`). A single environment wastes none.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import (
    ActorCriticPolicy,
    BasePolicy,
)
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from Algorithm.finite import check_step
from Algorithm.meter import to_numbers
from Algorithm.on_policy.losses import Losses
from Algorithm.on_policy.rollout_log import log_episodes
from Algorithm.on_policy.sb3_arguments import ACTION_SPACES, SB3_POLICIES
from Algorithm.policy_gradient.config import PolicyGradientConfig
from Algorithm.policy_gradient.episodes import EpisodeRecorder, Episodes
from Common.device import upload
from Common.errors import UserError
from Models.sb3.policies import distribution_and_value, within_bounds


class PolicyGradient(BaseAlgorithm, ABC):
    """Plays complete episodes, then takes one gradient step. A subclass defines the loss.

    Args:
        policy: one of SB3's actor-critic policies.
        config: the settings; None: the method's defaults.
        settings: single settings by name, which override `config`. An unknown name is a TypeError.
        Others: see SB3's `BaseAlgorithm`.

    Raises:
        UserError: a setting is out of range.

    Logged: rollout/ep_return, rollout/ep_length (over the last episodes), rollout/truncated_share
    (of this update's episodes), rollout/unused_share (of its env steps), rollout/entropy;
    train/pg_loss, train/grad_norm; time/episodes, time/seconds_per_episode, and the on-policy
    loop's.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = SB3_POLICIES
    config_class: ClassVar[type[PolicyGradientConfig]]
    policy: ActorCriticPolicy

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        config: PolicyGradientConfig | None = None,
        *,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        config = dataclasses.replace(config or self.config_class(), **settings)
        self._configure(config)
        super().__init__(
            policy,
            env,
            config.learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=ACTION_SPACES,
        )
        if _init_setup_model:
            self._setup_model()

    def _configure(self, config: PolicyGradientConfig) -> None:
        """Set the attributes that SB3's class does not have. Subclasses add their own."""
        self.gamma = config.gamma
        self.n_episodes = config.n_episodes
        self.max_grad_norm = config.max_grad_norm
        self.max_episode_steps = config.max_episode_steps
        self.gradient_steps = 0

    @abstractmethod
    def losses(self, log_prob: Tensor, values: Tensor, episodes: Episodes) -> Losses:
        """Return the loss of one update.

        Args:
            log_prob: log-probabilities of the actions, with gradient, `(B,)`.
            values: the critic's estimates, with gradient, `(B,)`.
        """

    def bootstrap(self, infos: list[dict[str, Any]], dones: np.ndarray) -> np.ndarray:
        """Return the bootstrap to add to the rewards of truncated episodes: `(n_envs,)`."""
        return np.zeros(len(dones), np.float32)

    @property
    def config(self) -> PolicyGradientConfig:
        """The checked settings, with the initial learning rate."""
        names = [
            field.name
            for field in dataclasses.fields(self.config_class)
            if field.name != "learning_rate"
        ]
        settings = {name: getattr(self, name) for name in names}
        return self.config_class(learning_rate=self.lr_schedule(1.0), **settings)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        _ = self.config  # check the settings, from the constructor or from `load`
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # pyright: ignore[reportAttributeAccessIssue]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    # -- the loop ---------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PolicyGradient",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for at least `total_timesteps` env steps, in whole updates.

        Args:
            log_interval: updates between logging points; the last update is always logged.

        Raises:
            UserError: there is no environment, an episode does not end, or the loss or its
                gradient is not finite.
        """
        if self.env is None:
            raise UserError(f"This {type(self).__name__} has no environment: pass env= to load().")
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        iteration = 0
        while self.num_timesteps < total_timesteps:
            steps_before, started = self.num_timesteps, time.perf_counter()
            episodes = self.collect_episodes(self.env, callback)
            if episodes is None:
                break
            collected = time.perf_counter()
            iteration += 1
            # The last episodes may end beyond the budget, outside of a schedule's domain.
            steps = min(self.num_timesteps, total_timesteps)
            self._update_current_progress_remaining(steps, total_timesteps)
            self.train(episodes)
            at_end = self.num_timesteps >= total_timesteps
            if log_interval and (at_end or iteration % log_interval == 0):
                n_steps = self.num_timesteps - steps_before
                self._log_rollout(episodes, n_steps)
                self._log_time(
                    episodes.count, n_steps, collected - started, time.perf_counter() - collected
                )
                self.logger.dump(step=self.num_timesteps)
        callback.on_training_end()
        return self

    def collect_episodes(self, env: VecEnv, callback: BaseCallback) -> Episodes | None:
        """Return the episodes of one update, or None if a callback ends the training."""
        assert self._last_obs is not None and self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        if not self._last_episode_starts.all():
            self._last_obs = env.reset()  # pyright: ignore[reportAttributeAccessIssue]
        recorder = EpisodeRecorder(env.num_envs, self.n_episodes, self.max_episode_steps)
        callback.on_rollout_start()
        while not recorder.complete:
            with torch.no_grad():
                obs = upload(self._last_obs, self.device)  # pyright: ignore[reportArgumentType, reportCallIssue]
                distribution, _ = distribution_and_value(self.policy, obs)
                raw = distribution.sample()
            new_obs, rewards, dones, infos = env.step(
                within_bounds(self.policy, distribution.to_env_action(raw))
            )
            self.num_timesteps += env.num_envs
            self._last_episode_starts = dones
            callback.update_locals(locals())
            if not callback.on_step():
                self._last_obs = new_obs  # pyright: ignore[reportAttributeAccessIssue]
                return None
            playing = recorder.playing
            self._update_info_buffer([infos[i] for i in np.flatnonzero(playing)], dones[playing])
            rewards = rewards + self.bootstrap(infos, dones)
            recorder.add(self._last_obs, raw, rewards, dones, infos)  # pyright: ignore[reportArgumentType]
            self._last_obs = new_obs  # pyright: ignore[reportAttributeAccessIssue]
        callback.update_locals(locals())
        callback.on_rollout_end()
        self._episode_num += env.num_envs * self.n_episodes
        return recorder.episodes(self.device)

    def train(self, episodes: Episodes) -> None:
        """Take one gradient step on all steps of the episodes.

        Raises:
            UserError: the loss or its gradient is not finite. The weights are unchanged.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        distribution, values = distribution_and_value(self.policy, episodes.obs)
        losses = self.losses(distribution.log_prob(episodes.raw_actions), values, episodes)
        self.policy.optimizer.zero_grad()
        losses.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        when = f"gradient step {self.gradient_steps} (environment step {self.num_timesteps})"
        advice = "A smaller learning rate or a finite max_grad_norm may help."
        check_step(losses.total, norm, when, advice)
        self.policy.optimizer.step()
        self.gradient_steps += 1
        self._n_updates += 1
        terms = {f"train/{name}": term for name, term in losses.terms.items()}
        own = {"train/grad_norm": norm, "rollout/entropy": distribution.entropy().mean()}
        for key, value in to_numbers({**terms, **own}).items():
            self.logger.record(key, value)

    # -- logging ----------------------------------------------------------------------------------

    def _log_rollout(self, episodes: Episodes, n_steps: int) -> None:
        log_episodes(self.logger, self, "rollout/ep_return")
        cut = int(episodes.truncated.sum())
        self.logger.record("rollout/truncated_share", cut / episodes.count)
        self.logger.record("rollout/unused_share", 1 - len(episodes) / n_steps)

    def _log_time(
        self, n_episodes: int, n_steps: int, rollout_seconds: float, update_seconds: float
    ) -> None:
        seconds = rollout_seconds + update_seconds
        for name, value in {
            "env_steps": self.num_timesteps,
            "gradient_steps": self.gradient_steps,
            "episodes": self._episode_num,
            "rollout_seconds": rollout_seconds,
            "update_seconds": update_seconds,
            "steps_per_second": n_steps / seconds,
            "seconds_per_episode": seconds / n_episodes,
            "seconds": (time.time_ns() - self.start_time) / 1e9,
        }.items():
            self.logger.record(f"time/{name}", value)
