"""Prioritised experience replay on growing data (Schaul et al. 2016, arXiv 1511.05952).

Samples are identified by indices of the caller's data. The last `n_new` samples are "new" (in
DAgger: those of the latest round), the ones before are "old".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from Algorithm.cloning.sum_tree import SumTree
from Common.errors import UserError

ALPHA_MODES = ("constant", "linear", "dynamic_mean", "dynamic_max")


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of prioritised sampling."""

    alpha: float = 0.0  # 0: uniform; the toolkit's 0.6. The maximum in modes that change it
    mode_alpha: str = "constant"  # one of ALPHA_MODES
    beta_start: float = 0.4  # of the importance weights; 1 at the end of training
    priority_floor: float = 1e-3  # smaller losses count as this
    priority_cap: float = 10.0  # larger losses count as this
    oversampling: float = 3.0  # dynamic modes: maximum ratio of new to old sampling rates
    anneal_every: int = 100  # gradient steps between changes of alpha and beta

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise UserError(f"`alpha` {self.alpha} must be 0 (uniform sampling) or above.")
        if self.mode_alpha not in ALPHA_MODES:
            raise UserError(
                f"`mode_alpha` {self.mode_alpha!r} is not one of {', '.join(ALPHA_MODES)}."
            )
        if not 0 <= self.beta_start <= 1:
            raise UserError(f"`beta_start` {self.beta_start} must be between 0 and 1.")
        if not 0 < self.priority_floor < self.priority_cap < math.inf:
            raise UserError(
                f"`priority_floor` {self.priority_floor} must be above 0 and below `priority_cap` "
                f"{self.priority_cap}."
            )
        if not self.oversampling > 1:
            raise UserError(f"`oversampling` {self.oversampling} must be above 1.")
        if self.anneal_every < 1:
            raise UserError(f"`anneal_every` {self.anneal_every} must be at least 1.")


@dataclass(frozen=True)
class Draw:
    """The samples of the next batch."""

    indices: np.ndarray  # (B,) int64
    weights: np.ndarray | None  # (B,) float32, the largest is 1; None: all are 1
    # Of sequences: where episodes begin, bool (T, S); sample t * S + s is step t of sequence s
    starts: np.ndarray | None = None


def linear_alpha(alpha: float, progress: float) -> float:
    """Return alpha / 3 (0.2 for 0.6) to alpha over `progress` from 0 to 1."""
    return alpha * (1 + 2 * progress) / 3


def dynamic_alpha(
    alpha: float, oversampling: float, old_priority: float, new_priority: float
) -> float:
    """Return the largest a <= alpha with (new / old)^a <= oversampling.

    a = ln(oversampling) / ln(new / old): a new sample of that priority is drawn at most
    `oversampling` times as often as an old one.
    """
    if new_priority <= old_priority:
        return alpha
    return min(alpha, math.log(oversampling) / math.log(new_priority / old_priority))


def new_of_batch(count: int, new_share: float | None) -> int | None:
    """Return how many of `count` samples or streams are new; None: as sampled.

    A batch that is too small for a share has none: rounded to 0, the new samples would never be
    learned from, and rounded to all, the old ones would not.
    """
    if new_share is None:
        return None
    n_new = round(count * new_share)
    return None if 0 < new_share < 1 and n_new in (0, count) else n_new


class PrioritisedReplay:
    """Draws indices with P(i) = p_i^alpha / sum_k p_k^alpha, stratified.

    The priority p is the sample's last loss, between a floor and a cap. Importance weights
    w_i = (N P(i))^-beta / max_batch w correct the bias to the degree beta.

    New samples get the largest current priority. Samples added before any loss is known get the
    largest of the first batch: an initial value off the scale of the losses would be thousands of
    times their priority until each sample has been drawn, and the importance weight of a sample
    drawn before would dominate its batch.

    With alpha 0 no priorities are stored: indices are drawn in shuffled epochs, so that all samples
    are drawn equally often.

    Args:
        capacity: maximum number of samples.
        seed: seed of the draws.
    """

    def __init__(self, capacity: int, config: ReplayConfig, seed: int) -> None:
        self.config, self.capacity = config, capacity
        self.size = self.n_new = 0
        self.alpha, self.beta = config.alpha, config.beta_start
        self._rng = np.random.default_rng(seed)
        self._loss_known = False  # of any sample
        if self.prioritised:
            self._tree = SumTree(capacity)
            self._priorities = np.zeros(capacity)
        self._epochs = [Epochs(), Epochs()]  # of the old samples, or of all; of the new ones

    @property
    def prioritised(self) -> bool:
        """Whether sampling depends on losses."""
        return self.config.alpha > 0

    @property
    def n_old(self) -> int:
        """Number of samples from before the latest round."""
        return self.size - self.n_new

    def add(self, count: int, *, new: bool) -> None:
        """Add the next `count` indices with the largest current priority.

        Args:
            new: whether they are new, and all earlier ones old; otherwise all are old.
        """
        if self.size + count > self.capacity:
            raise ValueError(f"{self.size} + {count} samples exceed {self.capacity}.")
        first, self.size = self.size, self.size + count
        self.n_new = count if new else 0
        if self.prioritised:
            largest = self._priorities[:first].max() if first else self.config.priority_cap
            self._priorities[first : self.size] = largest
            self._rebuild()

    def anneal(self, progress: float) -> None:
        """Set beta and alpha for the progress of the training, 0 to 1."""
        if not self.prioritised:
            return
        start = self.config.beta_start
        self.beta = start + (1 - start) * progress
        alpha = self._alpha(progress)
        if alpha != self.alpha:
            self.alpha = alpha
            self._rebuild()

    def draw(self, batch_size: int, new_share: float | None = None) -> Draw:
        """Draw the next batch, with replacement if sampling is prioritised.

        Args:
            new_share: share of new samples in the batch; None: as sampled. Weights correct for
                priorities within old and new, not for this share. It has no effect if all samples
                are old or all are new, or if the batch is too small for it.
        """
        if self.size == 0:
            raise ValueError("The replay is empty.")
        n_new = new_of_batch(batch_size, new_share)
        if n_new is None or 0 in (self.n_old, self.n_new):
            parts = [(0, self.size, batch_size)]
        else:
            parts = [(0, self.n_old, batch_size - n_new), (self.n_old, self.size, n_new)]
        if not self.prioritised:
            indices = [
                epochs.draw(self._rng, *part)
                for epochs, part in zip(self._epochs, parts, strict=False)
            ]
            return Draw(np.concatenate(indices), None)
        drawn = [self._draw_prioritised(*part) for part in parts if part[2]]
        probability_ratio = np.concatenate([ratio for _, ratio in drawn])  # N P(i)
        weights = probability_ratio**-self.beta
        weights /= weights.max()
        return Draw(np.concatenate([index for index, _ in drawn]), weights.astype(np.float32))

    def update(self, indices: np.ndarray, losses: np.ndarray) -> None:
        """Set the losses of samples, both `(n,)`. For duplicate indices, the last loss counts."""
        if not self.prioritised:
            return
        if not np.isfinite(losses).all():
            raise ValueError("Priorities must be finite.")
        config = self.config
        priorities = np.clip(losses.astype(float), config.priority_floor, config.priority_cap)
        if not self._loss_known:
            self._loss_known = True
            self._priorities[: self.size] = priorities.max()
            self._rebuild()
        self._priorities[indices] = priorities
        self._tree.set(indices, priorities**self.alpha)

    def probabilities(self) -> np.ndarray:
        """Return P(i) of all samples, `(size,)`, without a fixed share of new samples."""
        if not self.prioritised:
            return np.full(self.size, 1 / self.size)
        return self._tree.leaves[: self.size] / self._tree.total

    def statistics(self) -> dict[str, float]:
        """Return sizes, and how unevenly samples are drawn, for the log."""
        figures = {"size": float(self.size), "new": float(self.n_new), "alpha": self.alpha}
        if not self.prioritised:
            return figures
        priorities, p = self._priorities[: self.size], self.probabilities()
        figures |= {
            "beta": self.beta,
            "priority_mean": float(priorities.mean()),
            "priority_max": float(priorities.max()),
            # 1 if all are equally likely, 1/N if a single one is drawn.
            "effective_share": float(1 / (p**2).sum() / self.size),
        }
        if self.n_new and self.n_old:
            old, new = priorities[: self.n_old], priorities[self.n_old :]
            figures |= {
                "priority_old": float(old.mean()),
                "priority_new": float(new.mean()),
                "oversampling": float(p[self.n_old :].mean() / p[: self.n_old].mean()),
            }
        return figures

    def capture(self) -> dict[str, Any]:
        """Return the complete state for `Common.runs.packing`."""
        state: dict[str, Any] = {
            "size": self.size,
            "n_new": self.n_new,
            "alpha": self.alpha,
            "beta": self.beta,
            "generator": self._rng.bit_generator.state,
            "epochs": [epochs.capture() for epochs in self._epochs],
        }
        if self.prioritised:
            state["loss_known"] = self._loss_known
            state["priorities"] = self._priorities[: self.size].copy()
            # Stored instead of recomputed, so that sums are equal bit-for-bit.
            state["leaves"] = self._tree.leaves[: self.size].copy()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` with the same capacity and config."""
        self.size, self.n_new = state["size"], state["n_new"]
        self.alpha, self.beta = state["alpha"], state["beta"]
        self._rng.bit_generator.state = state["generator"]
        for epochs, inner in zip(self._epochs, state["epochs"], strict=True):
            epochs.restore(inner)
        if self.prioritised:
            self._loss_known = state["loss_known"]
            self._priorities[: self.size] = state["priorities"]
            self._tree.fill(state["leaves"])

    def _alpha(self, progress: float) -> float:
        config = self.config
        if config.mode_alpha == "constant" or (
            config.mode_alpha != "linear" and 0 in (self.n_old, self.n_new)
        ):
            return config.alpha
        if config.mode_alpha == "linear":
            return linear_alpha(config.alpha, progress)
        new = self._priorities[self.n_old : self.size]
        new_priority = new.max() if config.mode_alpha == "dynamic_max" else new.mean()
        old_priority = self._priorities[: self.n_old].mean()
        return dynamic_alpha(config.alpha, config.oversampling, old_priority, new_priority)

    def _draw_prioritised(self, start: int, stop: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw indices in [start, stop), one from each of `count` equal strata, with N P(i)."""
        low = self._tree.sum_before(start)
        mass = self._tree.sum_before(stop) - low
        strata = (np.arange(count) + self._rng.random(count)) / count
        # Rounding may exceed the range.
        indices = self._tree.find(low + strata * mass).clip(start, stop - 1)
        return indices, self._tree.leaves[indices] / mass * (stop - start)

    def _rebuild(self) -> None:
        self._tree.fill(self._priorities[: self.size] ** self.alpha)


class Epochs:
    """Draws indices in [start, stop) in shuffled epochs."""

    def __init__(self) -> None:
        self._order = np.zeros(0, np.int64)
        self._range = (0, 0)
        self._next = 0

    def draw(self, rng: np.random.Generator, start: int, stop: int, count: int) -> np.ndarray:
        """Return the next `count` indices, `(count,)`. Another range begins another epoch."""
        if (start, stop) != self._range:
            self._range, self._order, self._next = (start, stop), np.zeros(0, np.int64), 0
        drawn = []
        while count:
            if self._next == len(self._order):
                self._order, self._next = start + rng.permutation(stop - start), 0
            drawn.append(self._order[self._next : self._next + count])
            self._next += len(drawn[-1])
            count -= len(drawn[-1])
        return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)

    def capture(self) -> dict[str, Any]:
        """Return the complete state."""
        return {"range": self._range, "next": self._next, "order": self._order}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture`."""
        self._range, self._next = state["range"], state["next"]
        self._order = state["order"]
