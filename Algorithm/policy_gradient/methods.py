"""REINFORCE and the actor-critic of the Hopper study, as SB3-style algorithms.

Usage::

    model = REINFORCE("MlpPolicy", "Enviroment.hopper:CustomHopper-source-v0", baseline=20.0)
    model.learn(500_000)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from Algorithm.on_policy.losses import Losses, normalise_advantages, value_loss
from Algorithm.policy_gradient.config import ActorCriticConfig, ReinforceConfig
from Algorithm.policy_gradient.episodes import Episodes
from Algorithm.policy_gradient.loop import PolicyGradient
from Algorithm.policy_gradient.losses import (
    discounted_returns,
    n_step_returns,
    policy_gradient_loss,
)
from Algorithm.truncation import truncation_bonus
from Common.device import upload


class REINFORCE(PolicyGradient):
    """Minimises -mean[ln pi(a_t|s_t) (G_t - b)], with G_t the return of the whole episode.

    Williams, 1992; Sutton and Barto, 13.3 and 13.4, with a constant b. There is no critic, so an
    episode that a time limit cut off counts as if nothing came after: its late steps look worse
    than they are (`rollout/truncated_share` tells how often). The critic of SB3's policy is there
    but never learns.

    Args:
        baseline: b, in units of the return.
        normalize_returns: to zero mean and unit deviation over the update's steps; not together
            with a baseline, which that would cancel.
        The others are those of `PolicyGradient`.

    Logged besides: train/return (mean G_t).
    """

    config_class = ReinforceConfig

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-3,
        gamma: float = 0.99,
        n_episodes: int = 1,
        baseline: float = 0.0,
        normalize_returns: bool = False,
        max_grad_norm: float = math.inf,
        max_episode_steps: int = 10_000,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        self.baseline = baseline
        self.normalize_returns = normalize_returns
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            gamma=gamma,
            n_episodes=n_episodes,
            max_grad_norm=max_grad_norm,
            max_episode_steps=max_episode_steps,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def losses(self, log_prob: Tensor, values: Tensor, episodes: Episodes) -> Losses:
        rewards, ends = episodes.rewards.cpu().numpy(), episodes.ends.cpu().numpy()
        returns = torch.as_tensor(discounted_returns(rewards, ends, self.gamma)).to(log_prob)
        weights = returns - self.baseline
        if self.normalize_returns:
            weights = normalise_advantages(returns)
        pg_loss = policy_gradient_loss(log_prob, weights)
        terms = {"pg_loss": pg_loss, "return": returns.mean()}
        return Losses(pg_loss, terms, critic=pg_loss.new_zeros(()))


class ActorCritic(PolicyGradient):
    """Minimises -mean[ln pi(a_t|s_t) d_t] + c mean[(V(s_t) - G_t^(n))^2], d_t = G_t^(n) - V(s_t).

    Sutton and Barto, 13.5; with n = 1 d_t is the TD error r_t + gamma V(s_{t+1}) - V(s_t). As in
    the Hopper study the update waits for the episode's end, where the book makes one each step.
    Targets have no gradient. A time limit is no end: there V of the last observation is
    bootstrapped from.

    Args:
        n_steps: n, env steps of rewards before a target bootstraps; from the longest episode on
            it makes targets of whole returns.
        vf_coef: c.
        normalize_advantage: d_t to zero mean and unit deviation over the update's steps.
        The others are those of `PolicyGradient`.

    Logged besides: train/value_loss, train/td_error (mean size of d_t), train/explained_variance
    (of the targets, by the critic).
    """

    config_class = ActorCriticConfig

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-3,
        gamma: float = 0.99,
        n_episodes: int = 1,
        n_steps: int = 1,
        vf_coef: float = 0.5,
        normalize_advantage: bool = False,
        max_grad_norm: float = math.inf,
        max_episode_steps: int = 10_000,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        self.n_steps = n_steps
        self.vf_coef = vf_coef
        self.normalize_advantage = normalize_advantage
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            gamma=gamma,
            n_episodes=n_episodes,
            max_grad_norm=max_grad_norm,
            max_episode_steps=max_episode_steps,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def bootstrap(self, infos: list[dict[str, Any]], dones: np.ndarray) -> np.ndarray:
        return truncation_bonus(self._values, infos, dones, self.gamma)

    def losses(self, log_prob: Tensor, values: Tensor, episodes: Episodes) -> Losses:
        targets = n_step_returns(episodes.rewards, values, episodes.ends, self.gamma, self.n_steps)
        td_error = targets - values.detach()
        advantages = normalise_advantages(td_error) if self.normalize_advantage else td_error
        pg_loss = policy_gradient_loss(log_prob, advantages)
        v_loss = value_loss(values, targets)
        critic = self.vf_coef * v_loss
        explained = explained_variance(*(x.detach().cpu().numpy() for x in (values, targets)))
        terms = {
            "pg_loss": pg_loss,
            "value_loss": v_loss,
            "td_error": td_error.abs().mean(),
            "explained_variance": torch.tensor(float(explained)),
        }
        return Losses(pg_loss + critic, terms, critic)

    def _values(self, obs: Any) -> Tensor:
        return self.policy.predict_values(upload(obs, self.device)).flatten()
