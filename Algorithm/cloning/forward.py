"""The student's forward pass in supervised learning, with the memory of a recurrent one."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from Common.device import upload
from Models.distributions import Distribution
from Models.networks.recurrent import Past
from Models.student.policy import StudentPolicy


class Forward:
    """Computes distributions of batches, and carries hidden states from batch to batch.

    Args:
        n_sequences: sequences per batch of a recurrent student.
    """

    def __init__(self, policy: StudentPolicy, n_sequences: int) -> None:
        self._policy = policy
        self.hidden: Tensor | None = None  # (n_sequences, units), before the next batch
        if policy.config.is_recurrent:
            self.hidden = policy.memory.blank(n_sequences)

    def __call__(self, obs: dict[str, Tensor], starts: np.ndarray | None) -> Distribution:
        """Return the distributions of a batch. Gradients do not flow into earlier batches.

        Args:
            obs: `(B, ...)`; of a recurrent student in the order of `Past`.
            starts: where episodes begin, bool `(T, n_sequences)`, for a recurrent student.
        """
        if self.hidden is None:
            return self._policy.distribution(obs)
        assert starts is not None
        past = Past(self.hidden, upload(starts, self.hidden.device))
        student, hidden = self._policy.advance(obs, past)
        self.hidden = hidden.detach()
        return student

    def capture(self) -> dict[str, Any]:
        """Return the state for `restore`, without copies; empty if there is none to keep."""
        return {} if self.hidden is None else {"hidden": self.hidden}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture`."""
        if self.hidden is not None:
            self.hidden = state["hidden"].to(self.hidden.device)
