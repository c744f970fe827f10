"""`python -m Evaluation.sight RUN`: test whether a student uses its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.evaluate.subject_flags import TeacherFlags
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class SightFlags(TeacherFlags):
    """Test whether a student uses its frames: play with frames zeroed, frozen or swapped."""

    episodes: int | None = None  # number of episodes; default: 20, or all of FIRST:STOP
    output: Path | None = None  # JSON; default: RUN/diagnostics/sight.json


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(SightFlags, "Evaluation.sight", "Evaluation.sight.measure:measure_sight")


if __name__ == "__main__":
    main()
