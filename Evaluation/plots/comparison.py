"""Compare the learning curves of several runs in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from Common.errors import UserError
from Common.names import counted
from Evaluation.metrics import CURVES, METRICS, Metric
from Evaluation.names import name_rows
from Evaluation.plots.curves import (
    Curve,
    MeanCurve,
    XAxis,
    mean_curve,
    metric_of,
    read_curve,
    teacher_levels,
)
from Evaluation.plots.picture import write_picture
from Evaluation.plots.run_curves import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION
from Evaluation.runs import Run, find_runs
from Evaluation.table import Row, rows_of
from Evaluation.tool import print_note

if TYPE_CHECKING:
    from Evaluation.plots.__main__ import PlotFlags

_FORMATS = (".png", ".pdf", ".svg")
_PANEL_INCHES = (5.6, 3.9)
_LEGEND_ROW, _LEGEND_LETTER, _LEGEND_HANDLE = 0.2, 0.072, 0.8  # inches
_COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# 7 colours, 8 markers and 5 styles distinguish 280 groups.
_STYLES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (5, 2, 1, 2)),
    (0, (1, 1)),
    (0, (8, 2, 1, 2, 1, 2)),
)
_MARKED = 8  # markers per curve
_CUT = "end of a run that was cut short or is in progress"


@dataclass(frozen=True)
class Group:
    """An experiment with its style in the figure."""

    name: str
    color: str
    marker: str
    style: Any
    runs: tuple[Run, ...]


def plot_runs(flags: PlotFlags) -> None:
    """Write the figure, and print a note per run that is missing in a panel.

    Raises:
        UserError: there are no runs, they are of different tasks, none has the metric, or the
            figure cannot be written.
    """
    if flags.output.suffix.lower() not in _FORMATS:
        raise UserError(
            f"--output {flags.output}: the name must end in one of {', '.join(_FORMATS)}."
        )
    if flags.output.is_dir() or not flags.output.absolute().parent.is_dir():
        raise UserError(f"--output {flags.output}: name a file in a folder that exists.")
    runs = find_runs(flags.runs)
    _check_one_task(runs)
    groups = make_groups(rows_of(runs))
    figure, remarks = draw_comparison(groups, flags.x, [metric_of(m) for m in flags.metric])
    write_picture(figure, flags.output, dpi=150)
    for remark in remarks:
        print_note(remark)
    print(f"curves   {flags.output}")


def _check_one_task(runs: Sequence[Run]) -> None:
    examples = {run.task: run.folder for run in runs}
    if len(examples) > 1:
        each = "\n".join(f"  {task}: {folder}" for task, folder in examples.items())
        raise UserError(
            f"A figure shows a single task, but these runs are of several:\n{each}\n"
            "Give the runs of one of them."
        )


def make_groups(rows: Sequence[Row]) -> list[Group]:
    """Give each row its own colour, marker and line style."""
    looks = zip(cycle(_COLORS), cycle(_MARKERS), cycle(_STYLES), strict=False)
    return [
        Group(str(name), *look, row.runs)
        for row, name, look in zip(rows, name_rows(rows), islice(looks, len(rows)), strict=True)
    ]


def draw_comparison(
    groups: Sequence[Group], xs: Sequence[XAxis], metrics: Sequence[Metric]
) -> tuple[Figure, list[str]]:
    """Draw the figure, with a row per metric and a column per axis.

    Returns:
        The figure, and remarks on runs that are missing in it.

    Raises:
        UserError: no run has one of the metrics.
    """
    width = _PANEL_INCHES[0] * len(xs)
    longest = max(len(group.name) for group in groups) + len(" (10 runs)")
    columns = max(1, int(width / (longest * _LEGEND_LETTER + _LEGEND_HANDLE)))
    legend = math.ceil((len(groups) + 1) / columns) * _LEGEND_ROW
    height = _PANEL_INCHES[1] * len(metrics) + legend
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(metrics), len(xs), squeeze=False)
    remarks: dict[str, None] = {}  # ordered, without duplicates
    handles: dict[int, Line2D] = {}  # by group
    for metric, row in zip(metrics, panels, strict=True):
        for x, axes in zip(xs, row, strict=True):
            curves = [_read(group, metric, x, remarks) for group in groups]
            if not any(curves):
                _raise_no_curves(metric, x, groups)
            for i, (group, of_group) in enumerate(zip(groups, curves, strict=True)):
                if of_group:
                    handles[i] = _draw_group(axes, group, of_group)
            _finish(axes, metric, x, [run for g in groups for run in g.runs])
    if any(run.figures is None for group in groups for run in group.runs):
        handles[len(groups)] = Line2D([], [], color=GRAY, marker="x", linestyle="", label=_CUT)
    figure.legend(
        handles=list(handles.values()),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        handlelength=3.2,
    )
    figure.suptitle(groups[0].runs[0].task, fontsize=11)
    return figure, list(remarks)


def _read(group: Group, metric: Metric, x: XAxis, remarks: dict[str, None]) -> list[Curve]:
    curves = []
    for run in group.runs:
        try:
            curve = read_curve(run, metric, x)
        except UserError as error:
            remarks[f"Omitting a run: {error}"] = None
            continue
        if curve is None:
            remarks[
                f"Omitting a run: {run.folder} logged no {metric.logged} against "
                f"{METRICS[x].label}."
            ] = None
        else:
            curves.append(curve)
    return curves


def _raise_no_curves(metric: Metric, x: XAxis, groups: Sequence[Group]) -> None:
    logged: set[str] = set()
    for run in (run for group in groups for run in group.runs):
        logged |= {key for point in run.metrics for key in point if not key.startswith("time/")}
    raise UserError(
        f"None of these runs logged {metric.logged} against {METRICS[x].label}. --metric is one of "
        f"{', '.join(CURVES)}, or a logged key: {', '.join(sorted(logged - {'step'}))}."
    )


def _draw_group(axes: Axes, group: Group, curves: Sequence[Curve]) -> Line2D:
    """Draw a group, and return its handle for the legend."""
    look: dict[str, Any] = {"color": group.color, "linestyle": group.style, "marker": group.marker}
    mean = mean_curve(curves)
    for curve in curves:
        is_alone = mean is None and not curve.is_cut
        axes.plot(
            curve.x,
            curve.y,
            color=group.color,
            linestyle=group.style if is_alone else "-",
            marker=group.marker if is_alone or len(curve.x) == 1 else "",
            markevery=_every(curve.x),
            markersize=4,
            linewidth=1.0 if is_alone else 0.8,
            alpha=1.0 if is_alone else 0.45,
        )
        if curve.is_cut:
            axes.plot(curve.x[-1], curve.y[-1], "x", color=group.color, markersize=7, mew=1.8)
    if mean is not None:
        _draw_mean(axes, mean, look)
    n = sum(not curve.is_cut for curve in curves)
    label = f"{group.name} ({counted(n, 'run')})"
    return Line2D([], [], **look, markersize=5, linewidth=1.0 if mean is None else 2.0, label=label)


def _draw_mean(axes: Axes, mean: MeanCurve, look: dict[str, Any]) -> None:
    if len(mean.x) == 1:  # a band without width would be invisible
        arms = [mean.mid - mean.low, mean.high - mean.mid]
        axes.errorbar(mean.x, mean.mid, arms, color=look["color"], marker=look["marker"], capsize=3)
        return
    axes.fill_between(mean.x, mean.low, mean.high, color=look["color"], alpha=0.16, lw=0)
    axes.plot(mean.x, mean.mid, **look, markevery=_every(mean.x), markersize=5, linewidth=2.0)


def _every(x: np.ndarray) -> int:
    return max(1, round(len(x) / _MARKED))


def _finish(axes: Axes, metric: Metric, x: XAxis, runs: Sequence[Run]) -> None:
    if metric.log and all(np.min(line.get_ydata()) > 0 for line in axes.get_lines()):
        axes.set_yscale("log")
    for level in teacher_levels(runs, metric):
        axes.axhline(level, color=BLACK, linestyle=(0, (4, 3)), linewidth=1.0)
        axes.annotate(
            "teacher",
            xy=(1, level),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    if axes.get_ylim()[0] < metric.lowest:
        axes.set_ylim(bottom=metric.lowest)
    axes.set_xlabel(METRICS[x].label, fontsize=9)
    axes.set_ylabel(metric.label, fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
