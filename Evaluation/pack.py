"""`python -m Evaluation.pack RUNS... --output FOLDER`: keep the record of runs, without weights.

Tables, curves, statistics and the report read a packed run like any other. A run of some minutes
takes about 10 kB: its settings, its figures and its compressed metrics.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Annotated

import tyro

from Common.commands.exits import print_line
from Common.errors import UserError
from Common.files.bounded_read import MAX_JSON, read_bounded
from Common.files.durable import publishing, write_file
from Common.names import counted
from Common.runs.files import CONFIG_FILE, PACKED_METRICS_FILE
from Common.runs.run_folder import FIGURES_FILE
from Evaluation.runs import Run, find_runs
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class PackFlags:
    """Copy the settings, figures and compressed metrics of runs, to keep them as evidence."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    output: Path  # new folder; a run lies there as it lies below the folder common to all


def pack_runs(flags: PackFlags) -> None:
    """Write the packed runs.

    Raises:
        UserError: the output exists, there is no run, or a run is not finished.
    """
    if flags.output.exists():
        raise UserError(f"--output {flags.output} exists. Delete it, or give another folder.")
    runs = find_runs(flags.runs)
    unfinished = [str(run.folder) for run in runs if run.figures is None]
    if unfinished:
        raise UserError(
            f"Without a final evaluation: {', '.join(unfinished)}. Finish these runs with "
            "--resume, or leave them out."
        )
    folders = [run.folder.resolve() for run in runs]
    root = Path(commonpath(folders)) if len(runs) > 1 else folders[0].parent
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    with publishing(flags.output) as made:
        for run, folder in zip(runs, folders, strict=True):
            _pack(run, made / folder.relative_to(root), root)
    print_line(f"{counted(len(runs), 'run')} in {flags.output}")


def _pack(run: Run, folder: Path, root: Path) -> None:
    folder.mkdir(parents=True)
    # Where the runs lay is of no use to others: paths begin at the common folder.
    places = {f"{root}/": ""}
    written_to = str((run.config.get("run") or {}).get("output"))
    if Path(written_to).is_absolute():  # elsewhere, if the run was moved since
        places = {written_to: run.folder.resolve().relative_to(root).as_posix(), **places}
    for name in (CONFIG_FILE, FIGURES_FILE):
        content = read_bounded(run.folder / name, MAX_JSON)
        for place, of_others in places.items():
            content = content.replace(_quoted(place), _quoted(of_others))
        write_file(folder / name, content)
    lines = "".join(json.dumps(point) + "\n" for point in run.metrics)
    # Without a time, so that the same run gives the same bytes.
    write_file(folder / PACKED_METRICS_FILE, gzip.compress(lines.encode(), mtime=0))


def _quoted(text: str) -> bytes:
    """Return the text as it stands between the quotes of a JSON file."""
    return json.dumps(text)[1:-1].encode()


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(PackFlags, "Evaluation.pack", pack_runs)


if __name__ == "__main__":
    main()
