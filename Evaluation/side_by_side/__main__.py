"""`python -m Evaluation.side_by_side RUNS...`: film teacher and students on one seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Enviroment import seeds
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class SideBySideFlags:
    """Film the teacher and students side by side on the same episode."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or students' bundles
    teacher: Path | None = None  # bundle, or run with one; default: the teacher of the first run
    no_teacher: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False  # show only students
    names: tuple[str, ...] = ()  # one per run; default: method and size
    seed: int = seeds.EVALUATION.start  # seed of the episode
    env_id: str | None = None  # package:Id-v0 of the students' task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    encoder: str | None = None  # package:Class of the student's own encoder; imports the package
    height: int = 360  # height of each picture in pixels
    output: Path = Path("side_by_side.mp4")
    gif: Path | None = None  # also write the video as a GIF of at most 2 MB


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(SideBySideFlags, "Evaluation.side_by_side", "Evaluation.side_by_side.film:film")


if __name__ == "__main__":
    main()
