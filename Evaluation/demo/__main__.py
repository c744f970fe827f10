"""`python -m Evaluation.demo`: play a shipped student beside its teacher, without any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class DemoFlags:
    """Play a student and its teacher on unseen seeds, print their figures and film one episode.

    Nothing is trained. Without --student, the best shipped student of Pusher plays.
    """

    student: Path | None = None  # run folder, or a student's bundle; default: a shipped one
    teacher: Path | None = None  # bundle, or run with one; default: its own, or the task's
    episodes: int = 50  # episodes per policy, on evaluation seeds
    env_id: str | None = None  # package:Id-v0 of the student's task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    encoder: str | None = None  # package:Class of the student's own encoder; imports the package
    output: Path | None = None  # video; default: Results/<task>/demo/demo.mp4


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(DemoFlags, "Evaluation.demo", "Evaluation.demo.play:show_demo")


if __name__ == "__main__":
    main()
