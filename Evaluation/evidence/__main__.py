"""`python -m Evaluation.evidence`: list every table and figure of the results, and check them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Evaluation.tool import run_tool


@dataclass(frozen=True)
class EvidenceFlags:
    """List every table and figure of the results: its command, its data and their hash.

    Numbers with data in the repository are computed again and compared.
    """

    root: Path = Path()  # of the repository
    redraw: Path | None = None  # also draw the figures that need no training, into this folder


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(EvidenceFlags, "Evaluation.evidence", "Evaluation.evidence.listing:show_evidence")


if __name__ == "__main__":
    main()
