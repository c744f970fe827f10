"""`python -m Evaluation.saliency RUN`: show which pixels actions depend on during an episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.evaluate.subject_flags import SubjectFlags
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class SaliencyFlags(SubjectFlags):
    """Show which pixels a student's actions depend on, as a video and a picture."""

    episodes: int | None = None  # only 1 is allowed: the first of --seeds
    output: Path | None = None  # folder; default: RUN/diagnostics


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(SaliencyFlags, "Evaluation.saliency", "Evaluation.saliency.show:show_saliency")


if __name__ == "__main__":
    main()
