"""`python -m Evaluation.linear_probe --task T`: test whether proprioception predicts the state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class ProbeFlags:
    """Predict the rest of the state from proprioception by ridge regression; warn if it succeeds.

    With --task, random actions are played. With --dataset, only the first step of each episode is
    used: in later steps, the teacher's arm is at the object, so its position reveals the object's.
    """

    task: str | None = None  # name of the task; default: that of --dataset
    dataset: Path | None = None  # folder of a teacher's dataset, instead of random actions
    episodes: int = 100  # episodes of random actions
    output: Path | None = None  # JSON


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(ProbeFlags, "Evaluation.linear_probe", "Evaluation.linear_probe.probe:probe")


if __name__ == "__main__":
    main()
