"""The gradient step of supervised learning, on a GPU as a CUDA graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.forward import Forward
from Algorithm.cloning.losses import batch_figures, cloning_losses, minimised, priority_loss
from Algorithm.finite import StepGuard
from Algorithm.step_graph import StepGraph
from Models.agreement import ActionAccuracy
from Models.distributions import Distribution
from Models.student.policy import StudentPolicy


@dataclass(frozen=True)
class Labelled:
    """What a gradient step depends on. The first dimension of each tensor is the batch."""

    obs: dict[str, Tensor]
    teacher: Distribution
    weights: Tensor | None = None  # (B,), of importance sampling
    starts: np.ndarray | None = None  # see `Forward`


class CloningStep:
    """Takes gradient steps with clipped and checked gradients.

    On a GPU the steps between two logging points are one CUDA graph, unless each must wait: for the
    priorities of its samples, or for the memory of a recurrent student.

    Args:
        policy: the student; trained on its current device.
        optimizer: of its trained parameters.
        accuracy: the metric of actions.
        prioritised: whether `errors` are needed after each step.
    """

    def __init__(
        self,
        policy: StudentPolicy,
        optimizer: torch.optim.Optimizer,
        config: CloningConfig,
        accuracy: ActionAccuracy,
        *,
        prioritised: bool,
    ) -> None:
        self._policy, self._optimizer, self._config = policy, optimizer, config
        self._accuracy, self._prioritised = accuracy, prioritised
        self.forward = Forward(policy, config.batch_size // config.sequence_length)
        self.errors = torch.zeros(0)  # (B,), from which the priorities of the last batch follow
        advice = "A smaller learning rate may help; also check the dataset's values."
        self._guard = StepGuard(advice)
        waits = prioritised or policy.config.is_recurrent
        captures = policy.device.type == "cuda" and not waits
        self._graph = StepGraph(self._take, optimizer, enabled=captures)
        self._graph.begin_update(config.log_every)
        self._rate = torch.zeros((), device=policy.device)  # learning rate of a captured step
        self._number = 0

    def __call__(self, batch: Labelled, learning_rate: float, number: int) -> dict[str, Tensor]:
        """Take a step, and return its figures, scalars on the device.

        Args:
            number: number of the step, for messages.
        """
        self._number = number
        # A captured step reads its learning rate from the GPU.
        rate = self._rate.fill_(learning_rate) if self._graph.enabled else learning_rate
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return self._graph(batch)

    def settle(self) -> None:
        """Check the steps since the last call. The next ones need a graph of their own.

        Raises:
            UserError: loss or gradient norm of a step was NaN or infinite.
        """
        self._guard.settle()
        self._graph.begin_update(self._config.log_every)

    def _take(self, batch: Labelled, is_first: bool) -> dict[str, Tensor]:
        student = self.forward(batch.obs, batch.starts)
        losses = cloning_losses(student, batch.teacher)
        per_sample = minimised(losses, student, batch.teacher, self._config)
        if batch.weights is not None:
            per_sample = per_sample * batch.weights
        loss = per_sample.mean()
        self._optimizer.zero_grad()
        loss.backward()
        parameters = self._policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm)
        self._guard.check(self._optimizer, loss, norm, self._number)
        self._optimizer.step()
        if self._prioritised:
            self.errors = priority_loss(self._config.loss_type, student, batch.teacher)
        figures = batch_figures(losses, student, batch.teacher, self._accuracy)
        return {"loss": loss.detach(), "grad_norm": norm, **figures}
