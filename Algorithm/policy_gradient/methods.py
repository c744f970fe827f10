"""REINFORCE and the actor-critic of the Hopper study, as SB3-style algorithms.

Usage::

    model = REINFORCE("MlpPolicy", "Enviroment.hopper:CustomHopper-source-v0", baseline=20.0)
    model.learn(500_000)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from Algorithm.on_policy.losses import Losses, normalise_advantages, value_loss
from Algorithm.policy_gradient.config import (
    ActorCriticConfig,
    PolicyGradientConfig,
    ReinforceConfig,
)
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
    """Minimise -mean[ln pi(a_t|s_t) (G_t - b)], with G_t the return of the whole episode.

    Williams, 1992; Sutton and Barto, 13.3 and 13.4, with a constant b. Without a critic, the return
    of a truncated episode lacks all later rewards: its late steps look worse than they are
    (`rollout/truncated_share` is the share of such episodes). SB3's policy has a critic, which is
    never trained.

    Args:
        config, settings: see `ReinforceConfig`.
        Others: see `PolicyGradient`.

    Logged in addition: train/return (mean G_t).
    """

    config_class = ReinforceConfig

    def _configure(self, config: PolicyGradientConfig) -> None:
        super()._configure(config)
        assert isinstance(config, ReinforceConfig)
        self.baseline = config.baseline
        self.normalize_returns = config.normalize_returns

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
    """Minimise -mean[ln pi(a_t|s_t) d_t] + c mean[(V(s_t) - G_t^(n))^2], d_t = G_t^(n) - V(s_t).

    Sutton and Barto, 13.5; with n = 1, d_t is the TD error r_t + gamma V(s_{t+1}) - V(s_t). As in
    the Hopper study the update waits for the end of the episode; the book updates at every step.
    Targets have no gradient. Truncated episodes bootstrap from V of the terminal observation.

    Args:
        config, settings: see `ActorCriticConfig`.
        Others: see `PolicyGradient`.

    Logged in addition: train/value_loss, train/td_error (mean absolute d_t),
    train/explained_variance (of the targets by the critic).
    """

    config_class = ActorCriticConfig

    def _configure(self, config: PolicyGradientConfig) -> None:
        super()._configure(config)
        assert isinstance(config, ActorCriticConfig)
        self.n_steps = config.n_steps
        self.vf_coef = config.vf_coef
        self.normalize_advantage = config.normalize_advantage

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

    def _values(self, obs: Any, envs: np.ndarray) -> Tensor:
        return self.policy.predict_values(upload(obs, self.device)).flatten()
