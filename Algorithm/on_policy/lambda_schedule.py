"""Schedules of lambda, the weight of PPD's KL to the teacher, during training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Common.errors import UserError

LAMBDA_SCHEDULES = ("constant", "linear", "skill")


@dataclass
class LambdaSchedule:
    """lambda as a function of the remaining progress, for the `distill_lambda` of `PPD`.

    With p the progress (0 to 1) and s the student's skill (0 blind, 1 the teacher), clipped to
    0 to 1:

    - constant: first;
    - linear: first + (final - first) p;
    - skill: final + (first - final) (1 - s). An evaluation sets the skill with `take_skill`; until
      then lambda is `first`.

    Raises:
        UserError: a lambda is below 0, the schedule is unknown, or a skill schedule would rise.
    """

    first: float
    final: float = 0.5
    kind: str = "constant"  # one of LAMBDA_SCHEDULES
    skill: float | None = None  # from the last evaluation

    def __post_init__(self) -> None:
        if self.kind not in LAMBDA_SCHEDULES:
            names = ", ".join(LAMBDA_SCHEDULES)
            raise UserError(f"`LambdaSchedule.kind` {self.kind!r} is not one of {names}.")
        for name, weight in (("first", self.first), ("final", self.final)):
            if not 0 <= weight < math.inf:
                raise UserError(f"`LambdaSchedule.{name}` {weight} must be finite and at least 0.")
        if self.kind == "skill" and self.final > self.first:
            raise UserError(
                "`LambdaSchedule.kind` skill lowers lambda as skill rises, but "
                f"`LambdaSchedule.final` {self.final:g} is above `LambdaSchedule.first` "
                f"{self.first:g}. Swap or lower it."
            )

    def take_skill(self, skill: float) -> None:
        """Set the student's skill.

        Raises:
            ValueError: the skill is NaN.
        """
        if math.isnan(skill):
            raise ValueError("The student's skill is not a number.")
        self.skill = skill

    def __call__(self, progress_remaining: float) -> float:
        """Return lambda at a remaining progress, which falls from 1 to 0."""
        if self.kind == "linear":
            return self.first + (self.final - self.first) * (1 - progress_remaining)
        if self.kind == "skill" and self.skill is not None:
            return self.final + (self.first - self.final) * (1 - min(max(self.skill, 0.0), 1.0))
        return self.first
