"""`python -m Sharing.pull OWNER/NAME`: pull a student, a teacher or a dataset from the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class PullFlags:
    """Pull a student, a teacher or a dataset from the Hugging Face Hub, and verify its hashes.

    Nothing in it is run: a repository with files that could hold code is refused.
    """

    # repository on the Hub; datasets/OWNER/NAME for a dataset
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    output: Path | None = None  # a new folder; default: NAME
    revision: str | None = None  # branch, tag or hash of a commit; default: the newest


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(PullFlags, "Sharing.pull", "Sharing.pull.download:run_pull")


if __name__ == "__main__":
    main()
