"""The update of the on-policy loop: gradient steps on the minibatches of a rollout."""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections import defaultdict

import torch
from torch import Tensor

from Algorithm import distributed
from Algorithm.augmentation import Augmenter
from Algorithm.finite import StepGuard
from Algorithm.meter import to_numbers
from Algorithm.on_policy.losses import Losses
from Algorithm.on_policy.rollout import Minibatch
from Algorithm.on_policy.state import ResumableOnPolicy
from Algorithm.step_graph import StepGraph
from Models.distributions import Distribution
from Models.sb3.policies import distribution_and_value
from Models.student.policy import StudentPolicy


class OnPolicyUpdate(ResumableOnPolicy, ABC):
    """Trains on minibatches with the loss of a subclass, with clipped and checked gradients.

    On a GPU the gradient steps of an update are one CUDA graph, unless they must wait in between.
    """

    batch_size: int | None
    n_epochs: int
    critic_warmup: int
    _augmenter: Augmenter
    _critic_parameters: list[torch.nn.Parameter]
    _ends = False  # whether this update ends before its last minibatch

    @abstractmethod
    def minibatch_losses(self, student: Distribution, values: Tensor, batch: Minibatch) -> Losses:
        """Return the losses of one minibatch from the student's forward pass.

        Args:
            student: the student's distributions, with gradient.
            values: the critic's estimates `(B,)`, with gradient.
        """

    def ends_update(self, losses: Losses) -> bool:
        """Return whether the update ends before this minibatch's gradient step. Default: False."""
        return False

    @property
    def may_end_early(self) -> bool:
        """Whether `ends_update` may return True, for which each step waits for a GPU."""
        return False

    def _prepare_updates(self) -> None:
        """Make what updates need, once the policy exists."""
        self._guard = StepGuard("A smaller learning rate or lambda may help.")
        policy, waits = self.policy, self.may_end_early or distributed.world_size() > 1
        is_plain = isinstance(policy, StudentPolicy) and not policy.config.is_recurrent
        can_be_captured = self.device.type == "cuda" and is_plain and not waits
        self._graph = StepGraph(self._train_on, policy.optimizer, enabled=can_be_captured)

    def train(self) -> None:
        """Train for several epochs of minibatches on the rollout."""
        started = time.perf_counter()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        if self.critic_warmup:
            self.logger.record("train/critic_warmup", int(self.critic_warms_up))
        logged: dict[str, list[Tensor]] = defaultdict(list)
        self._graph.begin_update(self.n_epochs * self.rollout_buffer.n_minibatches(self.batch_size))
        for _ in range(self.n_epochs):
            goes_on = self._epoch(logged)
            self._n_updates += 1
            if not goes_on:
                break
        self._guard.settle()
        averages = to_numbers({name: torch.stack(v).double().mean() for name, v in logged.items()})
        for name, value in distributed.means(averages).items():
            self.logger.record(f"train/{name}", value)
        self._update_seconds = time.perf_counter() - started

    def _epoch(self, logged: dict[str, list[Tensor]]) -> bool:
        """Train on every minibatch once. Return False if the update ends early."""
        for batch in self.rollout_buffer.minibatches(self.batch_size):
            batch = dataclasses.replace(batch, obs=self._augmenter(batch.obs))
            figures = self._graph(batch)
            if self._ends:
                return False
            self.gradient_steps += 1
            for name, value in figures.items():
                # Kept on the device until the end of the update: reading it would synchronise.
                logged[name].append(value)
        return True

    def _train_on(self, batch: Minibatch, is_first: bool) -> dict[str, Tensor]:
        """Take a gradient step, unless the update ends before it; return the step's figures."""
        student, values = distribution_and_value(self.policy, batch.obs, batch.past)
        losses = self.minibatch_losses(student, values, batch)
        self._ends = self.ends_update(losses)
        if self._ends:
            return {}
        figures = dict(losses.terms)
        if is_first:
            log_ratio = student.log_prob(batch.raw_actions) - batch.old_log_prob
            figures["ratio_first"] = log_ratio.exp().mean()
        figures["grad_norm"] = self._gradient_step(losses)
        return {name: figure.detach() for name, figure in figures.items()}

    @property
    def critic_warms_up(self) -> bool:
        """Whether only the critic is trained on this rollout."""
        return self.num_timesteps <= self.critic_warmup

    def _gradient_step(self, losses: Losses) -> Tensor:
        """Take a checked optimizer step, and return the norm of the gradient."""
        loss = losses.critic if self.critic_warms_up else losses.total
        self.policy.optimizer.zero_grad()
        # No gradient instead of zero gradients, with which Adam's moments would still move weights.
        loss.backward(inputs=self._critic_parameters if self.critic_warms_up else None)
        loss = distributed.average_gradients(self.policy.parameters(), loss)
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        when = self.gradient_steps, f"environment step {self.num_timesteps}"
        self._guard.check(self.policy.optimizer, loss, norm, *when)
        self.policy.optimizer.step()
        return norm
