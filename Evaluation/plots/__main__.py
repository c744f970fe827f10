"""`python -m Evaluation.plots RUNS...`: draw learning curves of several runs in one figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Evaluation.metrics import CURVES
from Evaluation.plots.curves import XAxis
from Evaluation.tool import run_tool

_METRIC_HELP = (
    f"{', '.join(CURVES)}, or a key of metrics.jsonl such as train/pg_loss; "
    "one row of the figure each"
)


@dataclass(frozen=True)
class PlotFlags:
    """Draw learning curves of runs of one task.

    Runs that differ only by run_index are shown as one curve, the interquartile mean with its 95%
    bootstrap interval over runs, and as a thin line per run. Evaluations during training are on
    validation seeds.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    x: tuple[XAxis, ...] = ("env_steps",)  # one column of the figure each
    metric: Annotated[tuple[str, ...], tyro.conf.arg(help=_METRIC_HELP)] = ("skill",)
    output: Path = Path("curves.png")  # .png, .pdf or .svg


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(PlotFlags, "Evaluation.plots", "Evaluation.plots.comparison:plot_runs")


if __name__ == "__main__":
    main()
