"""Settings of supervised learning, its learning rate, and DAgger's rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Algorithm.sequences import SEQUENCE_LENGTH
from Common.checks import check_at_least, check_not_negative, check_positive, check_shares
from Common.errors import UserError

BETA_NLL = "BetaNLL"
LOSS_TYPES = ("NLL", BETA_NLL, "KL", "MSE")
BETA_SCHEDULES = ("zero", "constant", "linear", "exponential")


@dataclass(frozen=True)
class CloningConfig:
    """Settings of supervised learning."""

    loss_type: str = "KL"  # one of LOSS_TYPES
    nll_beta: float = 0.5  # of BetaNLL, as its authors recommend
    gradient_steps: int = 1_200
    # Samples. For the same number of samples, more but smaller steps learn much faster at first.
    batch_size: int = 32
    learning_rate: float = 1e-3  # at the beginning
    final_learning_rate: float = 0.0  # at the end of the cosine schedule
    weight_decay: float = 1e-4  # of AdamW
    max_grad_norm: float = 1.0  # of all gradients together
    held_out: float = 0.05  # share of the dataset's episodes, for validation
    validation_samples: int = 2_048  # maximum number
    validate_every: int = 400  # gradient steps
    log_every: int = 100  # gradient steps
    sequence_length: int = SEQUENCE_LENGTH  # env steps per batch of each stream, if recurrent

    def __post_init__(self) -> None:
        if self.loss_type not in LOSS_TYPES:
            raise UserError(
                f"`loss_type` {self.loss_type!r} is not one of {', '.join(LOSS_TYPES)}."
            )
        check_at_least(self, batch_size=1, validation_samples=1, sequence_length=1)
        check_at_least(self, validate_every=1, log_every=1)
        check_positive(self, "learning_rate", "max_grad_norm")
        check_not_negative(self, "weight_decay")
        check_shares(self, "nll_beta")
        if self.gradient_steps < 0:
            raise UserError(
                f"`CloningConfig.gradient_steps` {self.gradient_steps} must not be below 0."
            )
        if not 0 <= self.final_learning_rate <= self.learning_rate:
            raise UserError(
                f"`learning_rate` {self.learning_rate} must decrease, to a final "
                f"{self.final_learning_rate} of at least 0."
            )
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


@dataclass(frozen=True)
class DaggerConfig:
    """Settings of the rounds. `CloningConfig` has the settings of learning."""

    rounds: int = 2
    env_steps: int = 3_600  # per round, all environments together
    gradient_steps: int = 400  # per round
    # At the beginning of round 1 without a round 0: otherwise the decay of round 0 goes on.
    learning_rate: float = 5e-4
    warmup: float = 0.1  # share of the gradient steps in which it rises to that
    new_share: float | None = 0.5  # of a batch, from the latest round; None: as sampled
    beta_schedule: str = "zero"  # one of BETA_SCHEDULES: share of steps in which the teacher acts
    beta: float = 0.5  # in round 1; not used by "zero"
    beta_decay: float = 0.5  # per round, of "exponential"
    deterministic: bool = True  # the student acts by its mode, as when deployed

    def __post_init__(self) -> None:
        for name in ("rounds", "env_steps", "gradient_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"`DaggerConfig.{name}` {getattr(self, name)} must be at least 1.")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(
                f"`DaggerConfig.learning_rate` {self.learning_rate} must be finite and above 0."
            )
        if not 0 <= self.warmup < 1:
            raise UserError(f"`warmup` {self.warmup} must be a share of the steps below 1.")
        if self.beta_schedule not in BETA_SCHEDULES:
            names = ", ".join(BETA_SCHEDULES)
            raise UserError(f"`beta_schedule` {self.beta_schedule!r} is not one of {names}.")
        check_shares(self, "new_share", "beta", "beta_decay")

    def beta_in(self, number: int) -> float:
        """Return the share of steps in round `number` (from 1) in which the teacher acts.

        zero: 0. constant: beta. linear: from beta in round 1 to 0 in the last round (beta if there
        is only one). exponential: beta beta_decay^(number - 1).
        """
        done = (number - 1) / max(self.rounds - 1, 1)
        return {
            "zero": 0.0,
            "constant": self.beta,
            "linear": self.beta * (1 - done),
            "exponential": self.beta * self.beta_decay ** (number - 1),
        }[self.beta_schedule]
