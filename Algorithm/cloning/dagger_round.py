"""A round of DAgger while its states are collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from torch import Tensor

from Algorithm.meter import to_numbers


@dataclass
class Round:
    """Where a round's collection is, and what it has counted so far; its `vars` are its state."""

    obs: Any  # what the environments show: groups (n_envs, ...)
    starts: np.ndarray  # bool (n_envs,): whether that is an episode's first state
    begun: np.ndarray  # int64 (n_envs,): episodes
    steps: int = 0  # of each environment
    seconds: float = 0.0
    returns: list[float] = field(default_factory=list)  # of the episodes that ended
    sums: dict[str, float] = field(default_factory=dict)  # over the steps, of means over them

    @classmethod
    def begin(cls, obs: Any, n_envs: int) -> Self:
        """Return a round whose environments have just been reset."""
        return cls(obs, np.ones(n_envs, bool), np.ones(n_envs, np.int64))

    def begin_again(self, obs: Any) -> None:
        """The environments have just been reset within the round."""
        self.obs, self.starts = obs, np.ones(len(self.starts), bool)
        self.begun += 1

    def count(
        self,
        figures: Mapping[str, Tensor],
        obs: Any,
        starts: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One step: the student's figures `(n_envs,)` before it, and what the environments gave."""
        means = to_numbers({name: values.mean() for name, values in figures.items()})
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean
        self.obs, self.starts = obs, starts
        self.begun += starts
        self.steps += 1
        # An episode whose simulation diverged has no return.
        self.returns += [float(info["episode"]["r"]) for info in infos if "episode" in info]

    def figures(self) -> dict[str, float]:
        """What there is to say of it, for the log."""
        figures = {name: total / self.steps for name, total in self.sums.items()}
        if self.returns:
            figures["ep_return"] = float(np.mean(self.returns))
        return figures
