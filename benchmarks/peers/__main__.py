"""Run all peers on the same frames, teacher, seeds and env steps, and write the comparison.

Usage: python -m benchmarks.peers [--env-steps 34560] [--run-indices 0 1 2] [--only-table]

Each script runs by itself, one after the other, and writes its rows as JSON into a folder of
`--output` per run index. The table goes into `--report`, and all rows into a JSON file beside it,
from which rows that were not measured again are taken. `make bench-peers` makes the environment
that the peers need.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import tyro

from benchmarks.peers.ours import collect
from benchmarks.peers.setting import N_ENVS, TASK, Budget, Row
from Enviroment import seeds

# Scripts, with the names of their rows in the order of the table.
PEERS: dict[str, tuple[str, ...]] = {
    "ours": ("ours_ppd", "ours_bc"),
    "imitation_bc": ("imitation_bc_1", "imitation_bc_10"),
    "imitation_dagger": ("imitation_dagger",),
    "sb3_distill_ppd": (
        *("sb3_distill_cnn", "stand_in_cnn"),
        *("sb3_distill_state", "stand_in_state"),
    ),
    "sb3_ppo": ("sb3_ppo",),
}
CANNOT = (
    Row(
        "imitation",
        "DAgger, MultiInputPolicy",
        note="`InteractiveTrajectoryCollector.reset` asserts that observations are one array, and "
        "`SimpleDAggerTrainer` that the expert observes what the student observes",
    ),
    Row(
        "sb3_distill",
        "PPD, MultiInputPolicy, as it is",
        note="its teacher gets the student's observations (`teacher_env` of its base class is not "
        "implemented), so a teacher of the state needs an adapter",
    ),
    Row(
        "SB3",
        "PPO with a teacher",
        note="SB3 has no distillation",
    ),
)
_HEADINGS = (
    *("peer", "method", "student sees", "runs", "return", "success", "skill", "skill of each run"),
    *("env steps", "gradient steps", "processor minutes", "wall clock, minutes"),
)


@dataclass(frozen=True)
class CompareArguments(Budget):
    """Arguments of the comparison."""

    peers: tuple[str, ...] = tuple(PEERS)  # the scripts to run
    run_indices: tuple[int, ...] = (0,)  # each with a folder of `output`
    only_table: bool = False  # write the table of the rows that are there
    report: Path = Path("Results/Pusher/peers.md")


def main(arguments: CompareArguments) -> None:
    """Run the scripts, then write and print the table."""
    if not arguments.only_table:
        collect(arguments)
        for run_index in arguments.run_indices:
            for peer in arguments.peers:
                _run(peer, run_index, arguments)
    data = arguments.report.with_suffix(".json")
    rows = read_rows(arguments.output, data)
    text = report(rows, arguments)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(text)
    data.write_text(json.dumps(rows, indent=2) + "\n")
    print(text)


def read_rows(folder: Path, data: Path) -> dict[str, dict[str, Any]]:
    """Return the rows by name, in the order of the table, and by run index.

    New rows replace those of `data` with the same name and run index.

    Args:
        folder: has a folder per run index with the rows that scripts have written.
        data: the rows of earlier comparisons, if there were any.
    """
    rows = {name: {} for names in PEERS.values() for name in names}
    if data.is_file():
        rows |= json.loads(data.read_text())
    for path in sorted(folder.glob("*/*.json")):
        if path.stem in rows:
            rows[path.stem][path.parent.name] = json.loads(path.read_text())
    return {name: runs for name, runs in rows.items() if runs}


def report(named: Mapping[str, Mapping[str, Any]], arguments: CompareArguments) -> str:
    """Return the page with the table of all peers, and of those that cannot be."""
    peers = [list(runs.values()) for runs in named.values()]
    peers += [[asdict(row)] for row in CANNOT]
    rows = [runs[0] for runs in peers]
    h, w = TASK.frame_size
    figures = next((row["figures"] for row in rows if row["figures"]), {})
    teacher, blind = (f"{figures.get(f'{name}_return', 0):.2f}" for name in ("teacher", "blind"))
    notes = [f"- {r['peer']}, {r['method']}: {r['note']}." for r in rows if r["note"]]
    missing = [f"`{name}`" for names in PEERS.values() for name in names if name not in named]
    if missing:
        notes.insert(0, f"- Not measured yet: {', '.join(missing)}.")
    machines = [f"- {', '.join(names)}: {text}." for text, names in _machines(named).items()]
    lines = (
        "# Peers on the same frames, teacher, seeds and env steps",
        "",
        f"{TASK.name}: {h}x{w} gray frames stacked by 4 and the robot's joints, {N_ENVS} "
        f"environments, {arguments.env_steps:,}",
        "env steps, the teacher [ppo](teachers/ppo). Figures are of the student at the end of",
        f"training on {arguments.episodes} unseen seeds (from {seeds.EVALUATION.start:,} on), with "
        f"deterministic actions. There the teacher's return is",
        f"{teacher}, a blind student's {blind}. Means over runs (`--run_index` from 0 on), with "
        f"{arguments.threads} thread{'s' * (arguments.threads > 1)}.",
        "Minutes are of training, without evaluation; those of the wall clock include the wait for "
        "other programs of the machine.",
        "",
        _line(_HEADINGS),
        _line(("---",) * len(_HEADINGS)),
        *(_line(_cells(runs)) for runs in peers),
        "",
        "## Notes",
        "",
        *notes,
        "",
        "## Machines",
        "",
        *machines,
        "",
        "The precision is that of this project's students; the peers compute in float32.",
        "",
        "## Commands",
        "",
        "`make bench-peers` runs all of them. One by one, after `make bench-peers ARGS=--help`:",
        "",
        "```bash",
        *(f".venv-peers/bin/python -m benchmarks.peers.{peer}" for peer in PEERS),
        ".venv-peers/bin/python -m benchmarks.peers --only-table",
        "```",
        "",
    )
    return "\n".join(lines)


def _machines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names of the measured rows by the description of their machine.

    Its load average, which differs from run to run, is left to the JSON file.
    """
    machines: dict[str, list[str]] = {}
    for name, runs in rows.items():
        for row in runs.values():
            facts = (f"{k} {v}" for k, v in row["machine"].items() if k != "load average")
            names = machines.setdefault("; ".join(facts), [])
            if row["figures"] and f"`{name}`" not in names:
                names.append(f"`{name}`")
    return {text: names for text, names in machines.items() if names}


def _cells(runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the cells of a peer, from its rows of all run indices."""
    first, figures = runs[0], [row["figures"] for row in runs]
    titles = (first["peer"], first["method"], first["sees"])
    if not all(figures):
        return (*titles, "not run", *("",) * (len(_HEADINGS) - len(titles) - 1))

    def average(name: str, rows: Sequence[Mapping[str, Any]] = figures) -> float:
        return fmean(row[name] for row in rows)

    return (
        *titles,
        str(len(runs)),
        f"{average('return'):.2f}",
        f"{average('success'):.0%}",
        f"{average('skill'):.3f}",
        ", ".join(f"{row['skill']:.3f}" for row in figures),
        f"{first['env_steps']:,}",
        f"{first['gradient_steps']:,}",
        f"{average('cpu_minutes', runs):.1f}",
        f"{average('minutes', runs):.1f}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _run(peer: str, run_index: int, arguments: CompareArguments) -> None:
    """Run a script; the others go on if it fails."""
    shared = {
        "output": arguments.output / str(run_index),
        "dataset": arguments.dataset,
        "env-steps": arguments.env_steps,
        "episodes": arguments.episodes,
        "threads": arguments.threads,
        "run-index": run_index,
    }
    flags = [part for name, value in shared.items() for part in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, "-m", f"benchmarks.peers.{peer}", *flags], check=False)
    if done.returncode != 0:
        print(f"{peer} failed: exit code {done.returncode}", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(CompareArguments, description=__doc__))
