"""`python -m Evaluation.evaluate RUN`: evaluate a student's bundle on unseen seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.evaluate.subject_flags import TeacherFlags
from Evaluation.export.formats import Format
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class EvaluateFlags(TeacherFlags):
    """Evaluate a student: return, skill, agreement with its teacher, time per action, size.

    The episodes have seeds that were used neither for training nor for selection and, for
    comparison, the first seeds of training. A run's evaluation.json is replaced only by the same
    evaluation with at least as many episodes and figures.
    """

    output: Path | None = None  # JSON; default: a run's evaluation.json
    stochastic: bool = False  # sample the actions of student and teacher (Procgen: always)
    blind: bool = False  # zero the frames, for a blind student with an old bundle
    export: Format | None = None  # also write the deployed student into its bundle


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(EvaluateFlags, "Evaluation.evaluate", "Evaluation.evaluate.measure:evaluate")


if __name__ == "__main__":
    main()
