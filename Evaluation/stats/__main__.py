"""`python -m Evaluation.stats RUNS...`: print the tables of the PPD paper for our runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from Evaluation.stats.paper_numbers import TableNumber
from Evaluation.tool import run_tool

Format = Literal["markdown", "csv", "latex"]


@dataclass(frozen=True)
class StatsFlags:
    """Print the PPD paper's tables for these runs, with the paper's numbers for comparison."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    format: Format = "markdown"
    table: TableNumber | None = None  # default: all tables with runs


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(StatsFlags, "Evaluation.stats", "Evaluation.stats.show:show_stats")


if __name__ == "__main__":
    main()
