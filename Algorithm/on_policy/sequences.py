"""Cut the rollouts of recurrent students into sequences, for truncated backpropagation in time.

Each environment's rollout is cut every `length` env steps. A sequence begins with the hidden state
that the student had there while it acted, as in R2D2 (Kapturowski et al., ICLR 2019), RSL-RL and
SB3-Contrib. That needs no burn-in, however long ago the episode began, and is exact at the first
minibatch; later ones of the same rollout use it although the network has changed. Episodes that
begin within a sequence reset the hidden state there, so no sample is padded.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from Common.device import upload
from Models.networks.recurrent import Past


class RolloutSequences:
    """The sequences of a rollout, numbered environment by environment.

    Args:
        n_steps, n_envs: size of the rollout.
        length: env steps per sequence, a divisor of `n_steps`.
    """

    def __init__(self, n_steps: int, n_envs: int, length: int, device: torch.device) -> None:
        self.length, self.n_sequences = length, n_steps * n_envs // length
        self._steps = torch.arange(length, device=device).unsqueeze(1)  # (length, 1)
        self._device = device
        self.clear()

    def clear(self) -> None:
        """Clear the last rollout."""
        self._kept: list[Tensor] = []  # one (n_envs, units) per sequence of an environment
        self._hidden: Tensor | None = None
        self._starts: Tensor | None = None

    def add(self, step: int, hidden: Tensor) -> None:
        """Take the hidden states `(n_envs, units)` before a step of the rollout."""
        if step % self.length == 0:
            self._kept.append(hidden)

    def complete(self, episode_starts: np.ndarray) -> None:
        """Take where episodes begin in the complete rollout, `(n_steps, n_envs)`."""
        self._hidden = torch.stack(self._kept, dim=1).flatten(0, 1)  # (n_sequences, units)
        self._starts = upload(episode_starts.T.reshape(-1) > 0, self._device)

    def samples(self, sequences: Tensor) -> Tensor:
        """Return the samples of sequences `(S,)` in the order of `Past`, `(length * S,)`.

        Samples are numbered environment by environment, as in `StudentRolloutBuffer`.
        """
        return (sequences * self.length + self._steps).flatten()

    def past(self, sequences: Tensor) -> Past:
        """Return the `Past` of these sequences `(S,)`: the hidden states before them."""
        assert self._hidden is not None and self._starts is not None
        starts = self._starts[self.samples(sequences)].view(self.length, -1)
        return Past(self._hidden[sequences], starts)
