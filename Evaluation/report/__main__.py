"""`python -m Evaluation.report RESULTS...`: make a static page of runs, to view or print."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Common.commands.redaction import command_line
from Common.errors import UserError
from Common.files.bounded_read import read_bounded
from Common.files.durable import publishing, remove, writing
from Evaluation.report.entries import find_entries
from Evaluation.report.page import MEDIA, render_page
from Evaluation.tool import print_note, run_tool

PAGE = "index.html"
_MAX_PAGE = 2**28  # bytes
_MODULE = "Evaluation.report"
_MARK = 'name="generator" content="Evaluation.report"'


@dataclass(frozen=True)
class ReportFlags:
    """Write the report page of runs: comparisons, tables, curves, videos, diagnostics, settings.

    The page needs no network and no server: open `index.html`.
    """

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    output: Path = Path("report")  # folder; an existing report is replaced
    title: str = "Vision distillation: results"


def write_report(flags: ReportFlags) -> None:
    """Write the page atomically, and print a note on everything that could not be shown.

    Raises:
        UserError: there is nothing to show, the output cannot be written, or it holds something
            other than a report.
    """
    _check_free(flags.output)
    found = find_entries(flags.results)
    command = command_line(["python", "-m", _MODULE, *sys.argv[1:]])
    output = flags.output.absolute()
    with writing(f"--output {flags.output}"), publishing(output) as folder:
        text = render_page(flags.title, command, found, folder)
        (folder / PAGE).write_text(text, encoding="utf-8")
        _check_free(flags.output)  # still: rendering takes a while
        remove(output)  # the existing report, now that the new one is complete
    for problem in dict.fromkeys(found.problems):
        print_note(problem)
    print(f"page     {flags.output / PAGE}")


def _check_free(output: Path) -> None:
    with writing(f"--output {output}"):
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
    if not output.is_dir() or not _is_report(output):
        raise UserError(f"--output {output} holds something other than a report. Name another.")


def _is_report(folder: Path) -> bool:
    """Return whether a folder holds only a report, so that it can be deleted."""
    try:
        page = read_bounded(folder / PAGE, _MAX_PAGE).decode(errors="replace")
    except OSError:
        return False
    return _MARK in page and {path.name for path in folder.iterdir()} <= {PAGE, MEDIA}


if __name__ == "__main__":
    run_tool(ReportFlags, _MODULE, write_report)
