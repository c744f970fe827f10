"""`python -m Evaluation.blind RUN`: write R_blind, the zero of skill, into a teacher's bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class BlindFlags:
    """Evaluate a blind student, and write its returns into its teacher's bundle."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of a run with --blind
    teacher: Path | None = None  # bundle or run; default: Results/<task>/teachers/ppo, else sac
    env_id: str | None = None  # package:Id-v0 of the student's task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    encoder: str | None = None  # package:Class of the student's own encoder; imports the package
    episodes: int = 100  # episodes on validation seeds, and as many on evaluation seeds


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(BlindFlags, "Evaluation.blind", "Evaluation.blind.measure:measure_blind")


if __name__ == "__main__":
    main()
