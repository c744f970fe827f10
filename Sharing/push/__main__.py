"""`python -m Sharing.push PATH OWNER/NAME`: push a student, a teacher or a dataset to the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class PushFlags:
    """Push a student, a teacher or a dataset to the Hugging Face Hub.

    The files are uploaded as they are, with a generated card: results, video, command, limits, and
    how to load it. `hf auth login` or HF_TOKEN provides the token.
    """

    path: Annotated[Path, tyro.conf.Positional]  # a run folder, a bundle, or a dataset
    # repository on the Hub; created if it is missing
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    license: str = "mit"  # licence on the card, by its name on the Hub, such as apache-2.0
    private: bool = False  # make a new repository private
    message: str = ""  # title of the commit
    output: Path | None = None  # write the folder that would be uploaded, and upload nothing


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(PushFlags, "Sharing.push", "Sharing.push.upload:run_push")


if __name__ == "__main__":
    main()
