"""Draw the curves of a run from its `metrics.jsonl`.

A `Panel` declares lines and levels; panels without data are omitted. Colours are Okabe and Ito's,
which are safe for colour-blind readers; line styles differ too, for black-and-white prints.
"""

from __future__ import annotations

import fnmatch
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from Common.errors import UserError
from Common.runs.files import metrics_file, read_metrics
from Common.runs.run_folder import CURVES_FILE
from Evaluation.metrics import METRICS
from Evaluation.plots.picture import write_picture

BLACK, GRAY = "#000000", "#595959"
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"

_COLUMNS = 3
_PANEL_INCHES = (4.2, 2.9)
_ENV_STEPS = METRICS["env_steps"].label

Style = Literal["-", "--", "-.", ":"]
Series = tuple[np.ndarray, np.ndarray]  # steps, values; both (points,)


@dataclass(frozen=True)
class Line:
    """A metric against steps, with its interval if `<key>_low` and `<key>_high` exist."""

    key: str  # key of metrics.jsonl, may be a pattern with `*`
    label: str
    color: str
    style: Style = "-"


@dataclass(frozen=True)
class Level:
    """A horizontal line: the last value of a metric, or a number."""

    at: str | float
    label: str
    color: str
    style: Style = "--"


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()
    columns: int = 1  # of the figure
    log: bool = False  # log scale, if all values are above zero
    lowest: float = -math.inf  # lower limit of the axis


def _panel(
    key: str,
    *lines: Line,
    levels: tuple[Level, ...] = (),
    columns: int = 1,
    title: str = "",
) -> Panel:
    """Return the panel of a figure. Without `lines`, it shows the figure's logged key."""
    metric = METRICS[key]
    title = title or metric.label[0].upper() + metric.label[1:]
    if not lines:
        color = BLUE if metric.logged.startswith("eval/") else BLACK
        lines = (Line(metric.logged, metric.title, color),)
        title += ", unseen seeds" if metric.logged.startswith("eval/od_") else ""
    return Panel(title, lines, levels, columns, metric.log, metric.lowest)


# Panels with several lines, by the figure that they replace.
_SEVERAL = {
    "return": _panel(
        "return",
        Line("rollout/ep_return", "student, training", SKY, "-."),
        Line("eval/id_return", "student, training seeds", ORANGE, "--"),
        Line(METRICS["return"].logged, "student, unseen seeds (95%)", BLUE),
        levels=(
            Level("eval/teacher_return", "teacher", GREEN),
            Level("eval/blind_return", "blind", VERMILION, "-."),
            Level("eval/nothing_return", "do nothing", GRAY, ":"),
        ),
        columns=2,
    ),
    "skill": _panel(
        "skill", levels=(Level(1.0, "teacher", GREEN), Level(0.0, "blind", VERMILION, "-."))
    ),
    "success": _panel(
        "success",
        Line(METRICS["accuracy"].logged, METRICS["accuracy"].title, PURPLE, "--"),
        Line(METRICS["success"].logged, "success, unseen seeds", BLUE),
        levels=(Level("eval/teacher_success", "success of the teacher", GREEN),),
        title="Share",
    ),
}


def _panels() -> tuple[Panel, ...]:
    """Return a panel for each logged figure, unless it is a line of another panel."""
    drawn = {line.key for panel in _SEVERAL.values() for line in panel.lines}
    panels = [
        _SEVERAL.get(key) or _panel(key)
        for key, metric in METRICS.items()
        if metric.logged and (key in _SEVERAL or metric.logged not in drawn)
    ]
    return tuple(sorted(panels, key=lambda panel: -panel.columns))  # wide panels first


PANELS = _panels()


def draw_curves(run_dir: Path, panels: Sequence[Panel] = PANELS) -> Path:
    """Draw a run's metrics into `run_dir/curves.png`, and return its path.

    Raises:
        UserError: there is no `metrics.jsonl`, it holds none of the metrics, or the picture cannot
            be written.
    """
    points = read_metrics(run_dir)
    metrics, counted = collect_series(points), step_title(points)
    drawn = [panel for panel in panels if any(_matches(line, metrics) for line in panel.lines)]
    if not drawn:
        raise UserError(
            f"{metrics_file(run_dir)} holds no metrics to draw yet. "
            "A run writes its first metrics at the end of its first rollout."
        )
    places = _places(drawn)
    rows = places[-1][0] + 1
    figure = Figure(
        figsize=(_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * rows), layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, _COLUMNS)
    for panel, (row, column) in zip(drawn, places, strict=True):
        axes = figure.add_subplot(grid[row, column : column + panel.columns])
        draw_panel(axes, panel, metrics, counted)
    figure.suptitle(run_dir.resolve().name, fontsize=11)
    return write_picture(figure, run_dir / CURVES_FILE, dpi=120)


def curves_or_warning(run_dir: Path, panels: Sequence[Panel] = PANELS) -> Path | None:
    """Draw the curves at the end of a run; on any error, print a warning and return None."""
    try:
        return draw_curves(run_dir, panels)
    except Exception as error:
        print(f"No curves: {error}", file=sys.stderr)
        return None


def collect_series(points: Sequence[Mapping[str, Any]]) -> dict[str, Series]:
    """Return every numeric metric as steps and values, with NaN for null.

    If a step was logged twice because a run resumed from a checkpoint, the later point counts.
    """
    values: dict[str, dict[int, float]] = {}
    for point in points:
        for key, value in point.items():
            if key == "step" or isinstance(value, str):
                continue
            values.setdefault(key, {})[point["step"]] = math.nan if value is None else value
    return {
        key: (np.array(sorted(at)), np.array([at[step] for step in sorted(at)], np.float64))
        for key, at in values.items()
    }


def step_title(points: Sequence[Mapping[str, Any]]) -> str:
    """Return the title of `step` in a run: env steps, or gradient steps if they differ."""
    counts_env_steps = all(p.get("time/env_steps", p["step"]) == p["step"] for p in points)
    return _ENV_STEPS if counts_env_steps else METRICS["gradient_steps"].label


def draw_panel(
    axes: Axes,
    panel: Panel,
    metrics: Mapping[str, Series],
    x_title: str = _ENV_STEPS,
) -> None:
    """Draw one panel, omitting lines without data."""
    for line in panel.lines:
        for key in _matches(line, metrics):
            steps, values = metrics[key]
            axes.plot(
                steps,
                values,
                line.style,
                color=line.color,
                label=line.label,
                linewidth=1.6,
                marker="o" if len(steps) == 1 else None,  # a single point has no line
            )
            if f"{key}_low" in metrics and f"{key}_high" in metrics:
                low, high = metrics[f"{key}_low"], metrics[f"{key}_high"]
                axes.fill_between(low[0], low[1], high[1], color=line.color, alpha=0.15, lw=0)
    for level in panel.levels:
        _draw_level(axes, level, metrics)
    if panel.log and all(values.min() > 0 for _, values in _finite(panel, metrics)):
        axes.set_yscale("log")
    if axes.get_ylim()[0] < panel.lowest:
        axes.set_ylim(bottom=panel.lowest)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(x_title, fontsize=8)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    # A single line is named too, if the title is of several.
    if axes.get_legend_handles_labels()[0] and len(panel.lines) > 1:
        axes.legend(fontsize=8, frameon=False, loc="best")


def _draw_level(axes: Axes, level: Level, metrics: Mapping[str, Series]) -> None:
    if isinstance(level.at, str):
        if level.at not in metrics:
            return
        at = metrics[level.at][1][-1]
    else:
        at = level.at
    axes.axhline(at, color=level.color, linestyle=level.style, linewidth=1.2)
    axes.annotate(
        level.label,
        xy=(1, at),
        xycoords=axes.get_yaxis_transform(),
        xytext=(2, 0),
        textcoords="offset points",
        va="center",
        color=level.color,
        fontsize=8,
    )


def _matches(line: Line, metrics: Mapping[str, Series]) -> list[str]:
    return sorted(
        key
        for key in metrics
        if fnmatch.fnmatchcase(key, line.key) and np.isfinite(metrics[key][1]).any()
    )


def _finite(panel: Panel, metrics: Mapping[str, Series]) -> list[Series]:
    series = [metrics[key] for line in panel.lines for key in _matches(line, metrics)]
    return [(steps[np.isfinite(v)], v[np.isfinite(v)]) for steps, v in series]


def _places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """Return the row and first column of each panel, in reading order."""
    places, row, column = [], 0, 0
    for panel in panels:
        if column + panel.columns > _COLUMNS:
            row, column = row + 1, 0
        places.append((row, column))
        column += panel.columns
    return places
