"""Settings of supervised learning and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Algorithm.cloning.losses import LOSS_TYPES
from Common.errors import UserError


@dataclass(frozen=True)
class CloningConfig:
    """Settings of supervised learning."""

    loss_type: str = "NLL"  # one of LOSS_TYPES
    nll_beta: float = 0.5  # of BetaNLL, as its authors recommend
    gradient_steps: int = 8_000
    batch_size: int = 128  # samples
    learning_rate: float = 1e-3  # at the beginning
    final_learning_rate: float = 0.0  # at the end of the cosine schedule
    weight_decay: float = 1e-4  # of AdamW
    max_grad_norm: float = 1.0  # of all gradients together
    held_out: float = 0.05  # share of the dataset's episodes, for validation
    validation_samples: int = 2_048  # maximum number
    validate_every: int = 1_000  # gradient steps
    log_every: int = 100  # gradient steps

    def __post_init__(self) -> None:
        if self.loss_type not in LOSS_TYPES:
            raise UserError(
                f"`loss_type` {self.loss_type!r} is not one of {', '.join(LOSS_TYPES)}."
            )
        for name in ("batch_size", "validation_samples", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"`{name}` {getattr(self, name)} must be at least 1.")
        if self.gradient_steps < 0:
            raise UserError(
                f"`CloningConfig.gradient_steps` {self.gradient_steps} must not be below 0."
            )
        if not 0 <= self.final_learning_rate <= self.learning_rate < math.inf:
            raise UserError(
                f"`learning_rate` {self.learning_rate} must be finite and must decrease, to a "
                f"final {self.final_learning_rate} of at least 0."
            )
        if not self.learning_rate > 0 or not self.max_grad_norm > 0 or not self.weight_decay >= 0:
            raise UserError(
                f"`learning_rate` {self.learning_rate} and `max_grad_norm` {self.max_grad_norm} "
                f"must be above 0, `weight_decay` {self.weight_decay} at least 0."
            )
        if not 0 <= self.nll_beta <= 1:
            raise UserError(f"`nll_beta` {self.nll_beta} must be between 0 and 1.")
        if not 0 <= self.held_out < 1:
            raise UserError(f"`held_out` {self.held_out} must be a share of the episodes below 1.")


@dataclass(frozen=True)
class Decay:
    """The learning rate over all gradient steps of a training: warm-up, then cosine decay."""

    steps: int  # of the whole training
    first: float  # learning rate at step 0, without warm-up
    final: float  # at the end
    warmup: int = 0  # steps in which it rises linearly

    def at(self, step: int) -> float:
        """Return final + (first - final) (1 + cos(pi t)) / 2 at the share t of the training."""
        share = step / self.steps
        rate = self.final + (self.first - self.final) * (1 + math.cos(math.pi * share)) / 2
        return rate * min(1.0, (step + 1) / (self.warmup + 1))


@dataclass(frozen=True)
class Phase:
    """Gradient steps `first` to `stop - 1` on the same data."""

    first: int
    stop: int
