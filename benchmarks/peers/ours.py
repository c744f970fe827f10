"""This project's PPD (the main job) and BC, by their commands, for the comparison with peers.

Usage: python -m benchmarks.peers.ours [--run-index 0]

Evaluations during training are switched off as far as possible, so that the last student counts, as
with the peers. Minutes are without evaluations; processor minutes are of the whole command, with
start-up and the evaluation on 100 episodes, because a command is measured as a whole.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.setting import Arguments, Budget, Row, begin
from Common.files.bounded_read import read_json
from Common.runs.run_folder import FIGURES_FILE
from Evaluation.metrics import ID
from Evaluation.runs import SECONDS, read_run

_NEVER = "1000000"  # steps
_FEWEST = "5"  # episodes of an evaluation during training


def commands(arguments: Arguments) -> dict[str, tuple[str, Sequence[str]]]:
    """Return the title and the flags of each method by its name."""
    on = ("--mode", "ImpaalaSmall")
    # BC with batches of 32 like `imitation`'s, 1.1 epochs.
    bc = ("--loss_type", "KL", "--batch_size", "32", "--optimization_steps", "1200")
    data = ("--dataset", str(arguments.dataset))
    return {
        "ours_ppd": (
            "PPD, ImpaalaSmall (`make pusher`)",
            ("--PPD", *on, "--total_timesteps", str(arguments.env_steps)),
        ),
        "ours_bc": ("BC, ImpaalaSmall, 1.1 epochs", ("--BC_phase", *on, *data, *bc)),
    }


def run(arguments: Arguments, name: str) -> Row:
    """Run a command, and return its row."""
    title, flags = commands(arguments)[name]
    with tempfile.TemporaryDirectory(prefix="ours_") as scratch:
        folder = Path(scratch) / "run"
        command = [sys.executable, "Distillation/Pusher.py", *flags, "--output", str(folder)]
        command += ["--threads", str(arguments.threads), "--run_index", str(arguments.run_index)]
        command += ["--eval_every", _NEVER, "--eval_episodes", _FEWEST, "--wandb", "disabled"]
        command += ["--final_episodes", str(arguments.episodes), "--no_video"]
        before = _children_seconds()
        subprocess.run(command, check=True)
        cpu = _children_seconds() - before
        run = read_run(folder)
        evaluations = sum(point.get("eval/seconds", 0.0) for point in run.metrics)
        return Row(
            "this project",
            title,
            env_steps=int(run.last("time/env_steps") or 0),
            gradient_steps=int(run.last("time/gradient_steps") or 0),
            minutes=((run.last(SECONDS) or 0.0) - evaluations) / 60,
            cpu_minutes=cpu / 60,
            figures=_unseen(read_json(folder / FIGURES_FILE)),
            note="processor minutes with start-up and evaluations",
        )


def collect(arguments: Budget) -> None:
    """Collect the dataset of all clones, if it is missing: as many env steps as the budget."""
    if arguments.dataset.is_dir():
        return
    number = ("--num_data", str(arguments.env_steps), "--behaviour_noise", "0.2")
    command = ["Distillation/Pusher.py", "--C_data", *number, "--output", str(arguments.dataset)]
    subprocess.run([sys.executable, *command, "--threads", str(arguments.threads)], check=True)


def _unseen(figures: dict[str, float]) -> dict[str, float]:
    """Return the figures on unseen seeds, without those on training seeds."""
    return {name: value for name, value in figures.items() if not name.startswith(ID)}


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    _arguments = begin(__doc__)
    collect(_arguments)
    for _method in commands(_arguments):
        run(_arguments, _method).write(_arguments.output, _method)
