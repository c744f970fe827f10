"""Rival of `benchmarks/hopper.py`: PPD in SB3's PPO, as in the paper's library.

In every minibatch of every epoch, the student is evaluated once for PPO's loss and again, policy
only, for the KL; the teacher is evaluated on the same observations in every epoch; and each logged
figure is synchronised by `item()`.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import kl_divergence, sum_independent_dims
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor


class RecomputingPPD(PPO):
    """SB3's PPO for continuous actions, with the attributes `teacher` and `distill_lambda`."""

    teacher: PPO
    distill_lambda: float = 1.0

    def train(self) -> None:
        """Update on the rollout by epochs of minibatches."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        logged: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.n_epochs):
            for batch in self.rollout_buffer.get(self.batch_size):
                loss = self._loss(batch, logged)  # pyright: ignore[reportArgumentType]
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
            self._n_updates += 1
        for name, values in logged.items():
            self.logger.record(f"train/{name}", float(np.mean(values)))

    def _loss(self, batch: RolloutBufferSamples, logged: dict[str, list[float]]) -> Tensor:
        eps = self.clip_range(self._current_progress_remaining)  # pyright: ignore[reportCallIssue]
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        assert entropy is not None  # a Gaussian has a closed form
        advantages = batch.advantages
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_prob - batch.old_log_prob
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - eps, 1 + eps)
        pg_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        value_loss = F.mse_loss(batch.returns, values.flatten())
        entropy_loss = -entropy.mean()
        kl_loss = (ratio.clamp(min=1 - eps) * self._kl(batch.observations)).mean()
        logged["pg_loss"].append(pg_loss.item())
        logged["value_loss"].append(value_loss.item())
        logged["entropy_loss"].append(entropy_loss.item())
        logged["kl_loss"].append(kl_loss.item())
        logged["clip_fraction"].append(((ratio - 1).abs() > eps).float().mean().item())
        logged["approx_kl"].append((ratio - 1 - log_ratio).mean().item())
        losses = (self.ent_coef * entropy_loss, self.vf_coef * value_loss)
        return pg_loss + sum(losses) + self.distill_lambda * kl_loss

    def _kl(self, obs: Tensor) -> Tensor:
        """Return KL(teacher || student), `(B,)`."""
        with torch.no_grad():
            teacher = self.teacher.policy.get_distribution(obs)
        student = self.policy.get_distribution(obs)
        return sum_independent_dims(kl_divergence(teacher, student))
