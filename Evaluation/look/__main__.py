"""`python -m Evaluation.look SOURCE`: show the random looks that a student is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class LookFlags:
    """Draw the first frames of episodes with random looks, as --randomise_looks trains on them."""

    # a run, a student's bundle, a dataset, or the name of a task
    source: Annotated[str, tyro.conf.Positional]
    # ranges that differ from the defaults, such as light=0.8,camera_turn=5; default: those of the
    # run or dataset
    look_ranges: str | None = None
    frame_size: str | None = None  # HEIGHTxWIDTH in pixels; default: that of the source
    output: Path = Path("looks.png")
    env_id: str | None = None  # package:Id-v0 of the source's task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    encoder: str | None = None  # package:Class of the source's own encoder; imports the package


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(LookFlags, "Evaluation.look", "Evaluation.look.show:show_looks")


if __name__ == "__main__":
    main()
