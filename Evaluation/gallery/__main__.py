"""`python -m Evaluation.gallery RUN`: film a student's worst and best episodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.evaluate.subject_flags import SubjectFlags
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class GalleryFlags(SubjectFlags):
    """Play episodes, and film those with the lowest and the highest return, for the report."""

    episodes: int | None = None  # number of episodes; default: 20, or all of FIRST:STOP
    worst: int = 3  # episodes with the lowest return to film
    best: int = 3  # episodes with the highest return to film
    height: int = 320  # height of the videos in pixels
    output: Path | None = None  # folder; default: RUN/diagnostics/gallery


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(GalleryFlags, "Evaluation.gallery", "Evaluation.gallery.film:film_gallery")


if __name__ == "__main__":
    main()
