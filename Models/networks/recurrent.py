"""A gated recurrent unit (GRU) on sequences in which episodes may begin.

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation", EMNLP 2014 (arXiv 1406.1078), with the gates in the order of `torch.nn.GRU`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from Common.device import upload
from Models.networks.layers import orthogonal


@dataclass(frozen=True)
class Past:
    """The hidden states before a batch, and where episodes begin, so that they are reset.

    A batch consists of S sequences of T env steps, time-major: its sample t * S + s is step t of
    sequence s. A batch of single steps has T = 1.
    """

    hidden: Tensor  # (S, units), before the first step
    starts: Tensor  # bool (T, S): an episode begins with this step

    @classmethod
    def of_step(cls, hidden: Tensor, starts: np.ndarray) -> Self:
        """Return the past of one step of S environments.

        Args:
            starts: bool `(S,)`.
        """
        return cls(hidden, upload(np.asarray(starts, bool)[None], hidden.device))


class GatedMemory(nn.Module):
    """A GRU whose hidden state is zero where an episode begins.

    r, z = sigmoid(W x + U h + b), n = tanh(W x + b + r (U h + c)), h' = (1 - z) n + z h.

    Written out, because `torch.nn.GRU` cannot forget within a sequence, and the exporter of ONNX
    files has no `GRUCell`.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.inputs = nn.Linear(inputs, 3 * units)
        self.recurrence = nn.Linear(units, 3 * units)
        for gate in range(3):
            rows = slice(gate * units, (gate + 1) * units)
            nn.init.orthogonal_(self.recurrence.weight.data[rows])
        orthogonal(self.inputs, gain=1.0)
        nn.init.zeros_(self.recurrence.bias)

    def blank(self, n: int) -> Tensor:
        """Return the hidden states before episodes, `(n, units)`."""
        return torch.zeros(n, self.units, device=self.inputs.weight.device)

    def forward(self, features: Tensor, past: Past) -> tuple[Tensor, Tensor]:
        """Return the hidden states after each step, and after the last one.

        Gradients do not flow through the beginning of an episode.

        Args:
            features: `(T * S, inputs)`, time-major.

        Returns:
            `(T * S, units)` and `(S, units)`.
        """
        n_steps, n_sequences = past.starts.shape
        given = self.inputs(features).view(n_steps, n_sequences, -1)  # (T, S, 3 * units)
        kept = (~past.starts).to(features.dtype).unsqueeze(-1)  # (T, S, 1)
        hidden, states = past.hidden, []
        for t in range(n_steps):
            hidden = self._next(given[t], hidden * kept[t])
            states.append(hidden)
        return torch.cat(states), hidden

    def step(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Return the hidden states `(B, units)` after one step of episodes that go on."""
        return self._next(self.inputs(features), hidden)

    def _next(self, given: Tensor, hidden: Tensor) -> Tensor:
        reset_in, update_in, new_in = given.chunk(3, dim=-1)
        reset_h, update_h, new_h = self.recurrence(hidden).chunk(3, dim=-1)
        reset, update = torch.sigmoid(reset_in + reset_h), torch.sigmoid(update_in + update_h)
        new = torch.tanh(new_in + reset * new_h)
        return new + update * (hidden - new)
