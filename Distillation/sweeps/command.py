"""`python Distillation/sweep.py GRID.yaml`: run all unfinished runs of a grid."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Common.commands.exits import exit_with_message
from Common.errors import fields_as_flags
from Common.program import as_typed


@dataclass(frozen=True)
class SweepFlags:
    """Run all unfinished combinations of a grid; docs/grids.md describes grids.

    Interrupted runs are resumed. The exit code is 1 if a run failed, 2 if no run was started.
    """

    grid: Annotated[Path, tyro.conf.Positional]  # YAML file
    output: Path | None = None  # folder of the runs; default: the grid's or Results/sweeps/<file>
    set: tuple[str, ...] = ()  # KEY=VALUE: replace keys of the grid (except grids) or flags
    dry_run: bool = False  # only check the grid and print its commands
    jobs: int | None = None  # parallel runs; default: cores / threads; on Ray as many as fit
    ray: bool = False  # run on a Ray cluster started on this machine
    ray_address: str | None = None  # run on the Ray cluster at HOST:PORT


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and all errors on stderr."""
    ending = exit_with_message("Continue with the same command.")
    with ending, fields_as_flags({"folder": "output", "ray_address": "ray_address"}):
        flags = tyro.cli(
            SweepFlags, args=arguments, prog=as_typed("Distillation/sweep.py"),
            use_underscores=True, config=(tyro.conf.FlagCreatePairsOff,),
        )  # fmt: skip
        # After parsing, because the checks of the grid read teachers with torch.
        from Distillation.sweeps.tool import sweep

        sys.exit(sweep(flags))
