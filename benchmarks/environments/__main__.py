"""Try the environments that people bring: a short teacher, a look, a short student, its evaluation.

Usage: python -m benchmarks.environments [--only NAME ...] [--packages GROUP] [--table]

`make test-envs` runs each group of rows in a virtual environment with its packages. `--table`
writes the tables of docs/environments.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.environments.page import RECORD, write_page
from benchmarks.environments.rows import ROWS, Packages, Row
from benchmarks.environments.steps import steps
from Common.commands.exits import exit_with_message
from Common.errors import UserError
from Common.files.durable import write_file
from Common.names import nearest
from Common.places import ROOT


@dataclass(frozen=True)
class Arguments:
    """Try environments with the packages of this Python."""

    only: tuple[str, ...] = ()  # names of rows; default: all of --packages
    packages: Packages | None = None  # rows of this group
    output: Path = Path("build/environments")  # folder of the runs, which are replaced
    record: bool = False  # write the figures to the record of the page
    table: bool = False  # write the tables of the page from the record, and try nothing


def main(arguments: Arguments) -> None:
    """Try the rows one after the other, print what each reached, and fail if one of them fails."""
    if arguments.table:
        write_page()
        return
    reached = {row.name: _try(row, arguments.output) for row in chosen(arguments)}
    failed = [name for name, figures in reached.items() if "failed" in figures]
    for name, figures in reached.items():
        print(f"{name}: {json.dumps(figures)}")
    if arguments.record:
        known = json.loads((ROOT / RECORD).read_text()) if (ROOT / RECORD).exists() else {}
        text = json.dumps(known | reached, indent=1, sort_keys=True) + "\n"
        write_file(ROOT / RECORD, text.encode())
    if failed:
        raise UserError(f"Failed: {', '.join(failed)}.")


def chosen(arguments: Arguments) -> list[Row]:
    """Return the rows to try.

    Raises:
        UserError: there is no row of a name.
    """
    names = [row.name for row in ROWS]
    for name in arguments.only:
        if name not in names:
            raise UserError(f"--only {name}: did you mean {nearest(name, names)}?")
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    return [row for row in rows if arguments.packages in (None, row.packages)]


def _try(row: Row, output: Path) -> dict[str, Any]:
    """Run the commands of a row up to the first that fails, and return its figures."""
    folder = (output / row.name.replace(" ", "_")).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The packages of a checkout, also in processes of other folders.
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for title, words in steps(row, folder):
        print(f"{row.name}: {title}", flush=True)
        with (folder / f"{title}.log").open("w") as log:
            print("python", *words, file=log, flush=True)
            ended = subprocess.run(
                [sys.executable, *words],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ended.returncode:
            text = (folder / f"{title}.log").read_text()
            print(text[-3000:], file=sys.stderr)
            return {"failed": title}
    return _figures(folder)


def _figures(folder: Path) -> dict[str, Any]:
    measured = json.loads((folder / "student" / "evaluation.json").read_text())
    kept = ("return", "teacher_return", "success", "teacher_success")
    return {name: round(measured[name], 3) for name in kept if name in measured}


if __name__ == "__main__":
    with exit_with_message():
        main(tyro.cli(Arguments))
