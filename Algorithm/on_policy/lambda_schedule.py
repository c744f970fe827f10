"""How lambda, the weight of PPD's pull to the teacher, changes while the student learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Common.errors import UserError

LAMBDA_SCHEDULES = ("constant", "linear", "skill")


@dataclass
class LambdaSchedule:
    """lambda as a function of the progress that remains, to be given to `PPD` as `distill_lambda`.

    With p the progress (0 to 1) and s the student's skill (0 blind, 1 the teacher), clipped to
    0 to 1:

    - constant: first;
    - linear: first + (final - first) p;
    - skill: final + (first - final) (1 - s). Whoever measures the skill tells it by `take_skill`;
      until then lambda is the first. Skill is not known here, so that no evaluation is either.

    Raises:
        UserError: a lambda below 0, no such schedule, or by skill a lambda that would rise.
    """

    first: float
    final: float = 0.5
    kind: str = "constant"  # one of LAMBDA_SCHEDULES
    skill: float | None = None  # as measured last

    def __post_init__(self) -> None:
        if self.kind not in LAMBDA_SCHEDULES:
            names = ", ".join(LAMBDA_SCHEDULES)
            raise UserError(f"`LambdaSchedule.kind` {self.kind!r} is none of {names}.")
        for name, weight in (("first", self.first), ("final", self.final)):
            if not 0 <= weight < math.inf:
                raise UserError(
                    f"`LambdaSchedule.{name}` {weight} must be a number and not below 0."
                )
        if self.kind == "skill" and self.final > self.first:
            raise UserError(
                "`LambdaSchedule.kind` skill lets lambda fall as skill rises, but "
                f"`LambdaSchedule.final` {self.final:g} is above `LambdaSchedule.first` "
                f"{self.first:g}. Swap or lower it."
            )

    def take_skill(self, skill: float) -> None:
        """The student's skill from now on.

        Raises:
            ValueError: it is not a number.
        """
        if math.isnan(skill):
            raise ValueError("The student's skill is not a number.")
        self.skill = skill

    def __call__(self, progress_remaining: float) -> float:
        """lambda where `progress_remaining` falls from 1 to 0."""
        if self.kind == "linear":
            return self.first + (self.final - self.first) * (1 - progress_remaining)
        if self.kind == "skill" and self.skill is not None:
            return self.final + (self.first - self.final) * (1 - min(max(self.skill, 0.0), 1.0))
        return self.first
