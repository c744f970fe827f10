"""`python -m Distillation.imitability TEACHER`: write its imitability into a teacher's bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class ImitabilityFlags:
    """Clone a teacher on a small, fixed budget, and write the student's figures into its bundle."""

    teacher: Annotated[Path, tyro.conf.Positional]  # bundle, or run that trained it


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(
        ImitabilityFlags,
        "Distillation.imitability",
        "Distillation.imitability.measure:measure_imitability",
    )


if __name__ == "__main__":
    main()
