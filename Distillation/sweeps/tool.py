"""Run all unfinished runs of a grid."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from Common.commands.jobs import Job, LocalWorkers, Workers, run_jobs
from Common.commands.ray_jobs import RayWorkers
from Common.commands.signals import StopSignals
from Common.cores import available_cores
from Common.errors import UserError
from Common.files.bounded_read import read_bounded
from Common.files.durable import write_file
from Common.files.locks import locked
from Common.files.yaml_file import MAX_BYTES, parse_yaml
from Common.names import counted
from Common.places import ROOT
from Common.program import as_typed
from Distillation.resume import is_finished
from Distillation.sweeps.board import Board
from Distillation.sweeps.checks import check_grid, script_of
from Distillation.sweeps.flags import SweepFlags
from Distillation.sweeps.grid import Grid, PlannedRun, read_grid

_FILE_WIDTH = 160  # characters
_EXIT_FAILED = 1  # a run failed
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def sweep(flags: SweepFlags) -> int:
    """Run a grid and return the exit code.

    Raises:
        UserError: the grid has errors, Ray does not answer, or another process runs this grid.
            No run was started.
        Stopped: SIGINT or SIGTERM arrived. All runs have written their checkpoints.
    """
    # Use a fixed width for files and pipes.
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    if flags.jobs is not None and flags.jobs < 1:
        raise UserError(f"--jobs {flags.jobs} must be at least 1.")
    if flags.ray and flags.ray_address is not None:
        raise UserError("--ray starts a cluster and --ray_address joins one: give only one.")
    grid = read_grid(flags.grid, _changes(flags.set), flags.output)
    print(f"Checking {counted(len(grid.runs), 'run')}.", file=sys.stderr)
    check_grid(grid)
    if flags.dry_run:
        for run in grid.runs:
            console.print(
                shlex.join(("python", *_arguments(grid, run, Path()))),
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip
        return 0
    with locked(grid.output):
        write_file(grid.output / "grid.yaml", read_bounded(flags.grid, MAX_BYTES))
        return _run(grid, flags, console)


def _run(grid: Grid, flags: SweepFlags, console: Console) -> int:
    folders = {run.name: grid.output / run.name for run in grid.runs}
    done = {name for name, folder in folders.items() if is_finished(folder)}
    board = Board(folders, done, console)
    jobs = [_job(grid, run) for run in grid.runs if run.name not in done]
    if jobs:
        workers = _workers(
            grid, flags
        )  # before StopSignals, because Ray installs its own SIGTERM handler
        with StopSignals() as signals, signals.held():
            try:
                with board.shown():
                    run_jobs(
                        *(jobs, workers, board),
                        retries=grid.retries,
                        stops=lambda: signals.requested is not None,
                    )
            finally:
                _report(grid, board, console)
    else:
        _report(grid, board, console)
    return _EXIT_FAILED if board.failures() else 0


def _report(grid: Grid, board: Board, console: Console) -> None:
    console.print(board.final_table())
    for failure in board.failures():
        console.print(failure, soft_wrap=True, highlight=False, markup=False)
    for what, tool in (("side by side", "table"), ("with intervals", "stats")):
        line = as_typed(f"{what:14} python -m Evaluation.{tool} {grid.output}")
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _workers(grid: Grid, flags: SweepFlags) -> Workers:
    if flags.ray or flags.ray_address is not None:
        return RayWorkers.begin(flags.ray_address, cpus=grid.cpus, gpus=grid.gpus, most=flags.jobs)
    cores = available_cores()
    return LocalWorkers(flags.jobs or max(1, cores // grid.threads))


def _job(grid: Grid, run: PlannedRun) -> Job:
    return Job(
        run.name,
        (sys.executable, *_arguments(grid, run, ROOT)),
        log=grid.output / f"{run.name}.log",
        environment=dict.fromkeys(_THREAD_VARIABLES, str(grid.threads)),
    )


def _arguments(grid: Grid, run: PlannedRun, root: Path) -> tuple[str, ...]:
    """Return the script below `root` and the flags of a run, the same for every attempt."""
    script, *chosen = script_of(run.task)
    placed = ("--output", str(grid.output / run.name), "--threads", str(grid.threads), "--resume")
    return (str(root / script), *chosen, *run.arguments(), *placed)


def _changes(given: Sequence[str]) -> dict[str, Any]:
    """Parse `--set seeds=[0,1] num_envs=8` into keys and values of a grid file."""
    changes = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: give KEY=VALUE, such as seeds=[0,1].")
        try:
            changes[key] = parse_yaml(value)
        except ValueError as error:
            raise UserError(f"--set {text}: {value!r} is not YAML: {error}") from error
    return changes
