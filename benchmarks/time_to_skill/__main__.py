"""Measure the seconds and steps until a student of pixels has a skill of 0.90 and of 0.95.

Usage: python -m benchmarks.time_to_skill [--methods ppd cloning] [--run-indices 0 1 2 3 4]

Each method runs by the toolkit's own commands with their defaults, except that it is evaluated more
often, on the 20 validation seeds as always. It is stopped when it has reached the highest level.
Times are from the start of the first command, with the collection of a dataset. To measure as on a
processor without AVX-512, set ATEN_CPU_CAPABILITY=avx2 and ONEDNN_MAX_CPU_ISA=AVX2.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.time_to_skill.machine import describe_machine
from benchmarks.time_to_skill.watch import Watched, watch
from Common.cores import available_cores

_SCRIPT = "Distillation/Pusher.py"
_DATA = "{data}"  # stands for the folder of a dataset in the flags below
_STUDENT = ("--mode", "ImpaalaSmall")


@dataclass(frozen=True)
class Method:
    """A method: the flags of its commands, of which the last one trains the student."""

    title: str
    eval_every: int  # env steps of PPD, gradient steps of cloning
    commands: tuple[tuple[str, ...], ...]


METHODS = {
    "ppd": Method("PPD, the main job", 2_304, (("--PPD", *_STUDENT),)),  # every other rollout
    "cloning": Method(
        "BC",
        100,
        (("--C_data", "--output", _DATA), ("--BC_phase", *_STUDENT, "--dataset", _DATA)),
    ),
    "phases": Method(
        "BC, then DAgger", 100, (("--C_data", "--BC_phase", "--Dagger_phase", *_STUDENT),)
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Arguments of the benchmark."""

    methods: tuple[str, ...] = tuple(METHODS)
    run_indices: tuple[int, ...] = (0,)
    levels: tuple[float, ...] = (0.90, 0.95)  # skills
    threads: int = available_cores()
    output: Path = Path("Results/Pusher/time_to_skill.json")


def main(arguments: Arguments) -> int:
    """Measure each method, print the table and write the file; return 1 if a command failed."""
    if unknown := sorted(set(arguments.methods) - METHODS.keys()):
        print(f"No method {', '.join(unknown)}; choose of {', '.join(METHODS)}.", file=sys.stderr)
        return 2
    machine = describe_machine(arguments.threads)
    rows: list[dict[str, Any]] = []
    for name in arguments.methods:
        for run_index in arguments.run_indices:
            watched = _measure(METHODS[name], run_index, arguments)
            title = METHODS[name].title
            row = {"method": name, "title": title, "run_index": run_index}
            rows.append(row | dataclasses.asdict(watched))
            _write(arguments.output, {"machine": machine, "rows": rows})
    console = Console()
    for title, fact in machine.items():
        console.print(f"{title}: {fact}", highlight=False)
    console.print(table(rows, arguments.levels))
    for row in rows:
        if row["error"]:
            console.print(f"Failed: {row['error']}", highlight=False, soft_wrap=True)
    console.print(f"Written to {arguments.output}", highlight=False)
    return int(any(row["error"] for row in rows))


def commands(method: Method, run: Path, run_index: int, arguments: Arguments) -> list[list[str]]:
    """Return the arguments of Python for each command of a method.

    Args:
        run: the run folder; a dataset of an earlier command lies beside it.
    """
    made = [
        [flag.replace(_DATA, str(run.parent / "data")) for flag in flags]
        for flags in method.commands
    ]
    shared = ("--threads", str(arguments.threads), "--run_index", str(run_index))
    training = (
        "--output",
        str(run),
        "--eval_every",
        str(method.eval_every),
        "--wandb",
        "disabled",
        "--no_video",
    )
    made[-1] += training
    return [[_SCRIPT, *flags, *shared] for flags in made]


def table(rows: Sequence[dict[str, Any]], levels: Sequence[float]) -> Table:
    """Return the table for the console: a line for each run and level."""
    shown = Table(
        title="From the start of the command to a skill on 20 validation seeds",
        caption="Seconds are without evaluations; processor seconds are with them.",
    )
    shown.add_column("method")
    for title in (
        *("run", "skill", "seconds", "with evaluations", "processor seconds"),
        *("env steps", "gradient steps"),
    ):
        shown.add_column(title, justify="right")
    for row in rows:
        for level in levels:
            if (reached := row["reached"].get(level)) is None:
                best = row["best_skill"]
                why = "failed" if row["error"] else "not reached"
                cells = (why, "" if best is None else f"best skill {best:.3f}", "", "", "")
            else:
                cpu = reached["cpu_seconds"]
                cells = (
                    f"{reached['training_seconds']:.0f}",
                    f"{reached['seconds']:.0f}",
                    "" if cpu is None else f"{cpu:.0f}",
                    f"{reached['env_steps']:,}",
                    f"{reached['gradient_steps']:,}",
                )
            shown.add_row(row["title"], str(row["run_index"]), f"{level:.2f}", *cells)
    return shown


def _measure(method: Method, run_index: int, arguments: Arguments) -> Watched:
    with tempfile.TemporaryDirectory(prefix="time_to_skill_") as scratch:
        run = Path(scratch) / "run"
        return watch(commands(method, run, run_index, arguments), run, arguments.levels)


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
