"""`python -m Evaluation.table RUNS...`: compare runs in a table, averaged over seeds."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from Algorithm.method_registry import method_title
from Common.errors import UserError
from Evaluation.metrics import Metric, by_columns
from Evaluation.runs import OF_OLDER_RUNS, Run, find_runs
from Evaluation.stats.estimates import estimate, iqm
from Evaluation.tool import run_tool

# Flags that may differ between runs of one experiment.
_SEED_FLAGS = {"run_index"}
# Groups that do not define an experiment: the place of the run, values with columns of their own,
# and noise that depends on the seed (its size is a flag).
_NOT_THE_EXPERIMENT = {"run", "task", "method", "corruption"}
_METHODS_OWN = ("training", "cloning")  # groups of flags that depend on the method
_OTHER_RUNS = {"folder_Dagger", "init_from"}  # flags that refer to another run
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# A cell of `_cell`: a number, possibly with an interval and a count of runs, or a dash.
_NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?"
_FIGURE = re.compile(
    rf"-|{_NUMBER}(?: \({_NUMBER} to {_NUMBER}\))?(?:, \d+ of \d+ runs)?", re.ASCII
)


NOT_GIVEN = "-"  # in place of a flag's value
Statistic = Literal["mean", "iqm"]


@dataclass(frozen=True)
class TableFlags:
    """Compare runs on evaluation seeds. Runs that differ only by run_index share a row."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    format: Literal["markdown", "csv"] = "markdown"
    # over runs: mean with lowest and highest, or interquartile mean with its 95% bootstrap interval
    statistic: Statistic = "mean"


@dataclass(frozen=True)
class Row:
    """One experiment: one or more runs with the same flags."""

    names: Mapping[str, str]  # task, method, mode, and the flags that differ between the rows
    runs: tuple[Run, ...]

    def values(self, metric: Metric) -> list[float]:
        """Return a figure of each run that has it."""
        return [value for run in self.runs if (value := metric.of(run)) is not None]


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Group runs by their flags other than seeds. Rows are named by the flags that differ.

    Raises:
        UserError: a run's configuration is of an older version.
    """
    for run in runs:
        if not isinstance(run.method, str):
            raise UserError(f"{run.folder} was written by an older version. Omit it.")
    flags = [_experiment(run) for run in runs]
    differing = _differing(runs, flags)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, f in zip(runs, flags, strict=True):
        key = (run.task, run.method, run.mode, *(_named(f.get(name)) for name in differing))
        groups.setdefault(key, []).append(run)
    titles = ("task", "method", "mode", *differing)
    return [
        Row(dict(zip(titles, key, strict=True)), tuple(group))
        for key, group in sorted(groups.items())
    ]


def _named(value: Any) -> str:
    """Return a flag's value in a table; a dash if it is not set, or not a flag of the run."""
    return NOT_GIVEN if value is None else str(value)


def _differing(runs: Sequence[Run], flags: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the flags that differ between experiments.

    Flags that depend on the method are compared only between runs of the same task and method.
    """
    values: dict[tuple[str, ...], set[str]] = {}
    names = {name for of_run in flags for name in of_run}
    for run, of_run in zip(runs, flags, strict=True):
        own = {n for group in _METHODS_OWN for n in run.config.get(group) or ()}
        for name in names:
            if name in of_run and name not in own:
                values.setdefault((name,), set()).add(str(of_run[name]))
            key = (name, run.task, run.method)
            values.setdefault(key, set()).add(str(of_run.get(name)))
    return sorted({name for (name, *_), found in values.items() if len(found) > 1})


def _experiment(run: Run) -> dict[str, Any]:
    without_noise = run.config.get("corruption", {}).get("uncorrupted_sha256")
    sha256 = without_noise or run.teacher_sha256 or "none"
    flags: dict[str, Any] = {**OF_OLDER_RUNS, "teacher_sha256": sha256[:8]}
    for group, values in run.config.items():
        if group not in _NOT_THE_EXPERIMENT and isinstance(values, Mapping):
            flags |= {n: v for n, v in values.items() if n not in _SEED_FLAGS and n != "mode"}
    flags.pop("teacher", None)  # a path; teachers are identified by their hash
    for name in _OTHER_RUNS & {n for n, path in flags.items() if path}:
        # Runs that started from the run of their own seed, `bc_0` and `bc_1`, are one experiment.
        flags[name] = re.sub(rf"(?<!\d){run.run_index}$", "", str(flags[name]))
    return flags


def table(runs: Sequence[Run], statistic: Statistic = "mean") -> list[dict[str, str]]:
    """Return a dictionary of cells per row.

    Several runs are shown as their mean and, in brackets, the minimum and maximum; or as their
    interquartile mean and its interval over runs. If only some runs have a figure, the cell
    includes their number.
    """
    cells = []
    for row in rows_of(runs):
        finished = sum(run.figures is not None for run in row.runs)
        cut = len(row.runs) - finished
        names = {**row.names, "method": method_title(row.names["method"])}
        line = {**names, "runs": f"{finished}" + (f" (+{cut} cut short)" if cut else "")}
        for metric in by_columns("table"):
            form = metric.table_form or metric.form
            line[metric.heading] = _cell(row.values(metric), len(row.runs), form, statistic)
        cells.append(line)
    return cells


def _cell(values: list[float], n_runs: int, form: str, statistic: Statistic) -> str:
    if not values:
        return "-"
    middle, low, high = float(np.mean(values)), min(values), max(values)
    if statistic == "iqm" and len(values) > 1:
        whole = estimate({"": values}, iqm)
        assert whole.low is not None and whole.high is not None  # of several runs
        middle, low, high = whole.value, whole.low, whole.high
    text = f"{middle:{form}}"
    if len(values) > 1 and f"{low:{form}}" != f"{high:{form}}":
        text += f" ({low:{form}} to {high:{form}})"
    return text if len(values) == n_runs else f"{text}, {len(values)} of {n_runs} runs"


def as_markdown(cells: Sequence[Mapping[str, str]]) -> str:
    """Return the cells as a Markdown table."""
    titles = list(cells[0])
    lines = [titles, ["---"] * len(titles), *([line[t] for t in titles] for line in cells)]
    return "".join("| " + " | ".join(map(_markdown_cell, line)) + " |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def as_csv(cells: Sequence[Mapping[str, str]]) -> str:
    """Return the cells as CSV.

    Cells that a spreadsheet would evaluate as a formula get a leading apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    titles = list(cells[0])
    writer.writerows(
        map(_plain, line) for line in [titles, *([c[t] for t in titles] for c in cells)]
    )
    return text.getvalue()


def _plain(text: str) -> str:
    is_formula = text.startswith(_FORMULA_STARTS) and not _FIGURE.fullmatch(text)
    return f"'{text}" if is_formula else text


def show_table(flags: TableFlags) -> None:
    """Print the table."""
    cells = table(find_runs(flags.runs), flags.statistic)
    print(as_csv(cells) if flags.format == "csv" else as_markdown(cells), end="")


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(TableFlags, "Evaluation.table", show_table)


if __name__ == "__main__":
    main()
