"""`python -m Evaluation.export RUN --format onnx --output FILE`: export a student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from Evaluation.export.formats import Format
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class ExportFlags:
    """Write the deployed student to one file, from frame stack and proprioception to action.

    The action is the most probable one, in the environment's units. Before the file is written, its
    actions are compared with the student's. `--format bundle` writes a folder for this package
    instead, the student's bundle without its critic.
    """

    run: Annotated[Path, tyro.conf.Positional]  # a run folder, or a student's bundle
    # onnx computes in float32; torchscript matches the student bit-for-bit; bundle: without critic
    format: Format | Literal["bundle"]
    output: Path  # the file, or the folder of a bundle
    overwrite: bool = False  # replace an existing file
    encoder: str | None = None  # package:Class of the student's own encoder; imports the package


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(ExportFlags, "Evaluation.export", "Evaluation.export.student_file:export")


if __name__ == "__main__":
    main()
