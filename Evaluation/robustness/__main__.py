"""`python -m Evaluation.robustness RUN`: measure a student's robustness to perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.evaluate.subject_flags import TeacherFlags
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class RobustnessFlags(TeacherFlags):
    """Measure robustness to brightness, camera shift, looks, dropped frames and sensor noise."""

    episodes: int | None = None  # number of episodes; default: 20, or all of FIRST:STOP
    output: Path | None = None  # folder; default: RUN/diagnostics


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(
        RobustnessFlags, "Evaluation.robustness", "Evaluation.robustness.measure:measure_robustness"
    )


if __name__ == "__main__":
    main()
