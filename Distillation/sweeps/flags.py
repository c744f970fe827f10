"""Flags of `Distillation/sweep.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


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
