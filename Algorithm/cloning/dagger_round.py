"""The progress of a DAgger round during collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from torch import Tensor

from Algorithm.meter import to_numbers


@dataclass
class Round:
    """The progress and metrics of a round's collection. Its `vars` are its state."""

    obs: Any  # current observations: groups (n_envs, ...)
    starts: np.ndarray  # bool (n_envs,): whether this is the first state of an episode
    begun: np.ndarray  # int64 (n_envs,): number of begun episodes
    steps: int = 0  # per environment
    seconds: float = 0.0
    returns: list[float] = field(default_factory=list)  # of finished episodes
    sums: dict[str, float] = field(default_factory=dict)  # over steps, of means over environments

    @classmethod
    def begin(cls, obs: Any, n_envs: int) -> Self:
        """Return a round whose environments have just been reset."""
        return cls(obs, np.ones(n_envs, bool), np.ones(n_envs, np.int64))

    def begin_again(self, obs: Any) -> None:
        """Handle a reset of all environments within the round."""
        self.obs, self.starts = obs, np.ones(len(self.starts), bool)
        self.begun += 1

    def count(
        self,
        figures: Mapping[str, Tensor],
        obs: Any,
        starts: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one step: the student's metrics `(n_envs,)` before it, and the step's results."""
        means = to_numbers({name: values.mean() for name, values in figures.items()})
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean
        self.obs, self.starts = obs, starts
        self.begun += starts
        self.steps += 1
        # An episode whose simulation diverged has no return.
        self.returns += [float(info["episode"]["r"]) for info in infos if "episode" in info]

    def figures(self) -> dict[str, float]:
        """Return the metrics of the round for the log."""
        figures = {name: total / self.steps for name, total in self.sums.items()}
        if self.returns:
            figures["ep_return"] = float(np.mean(self.returns))
        return figures
