"""Draw the curves of `Evaluation.robustness`.

Colours are Okabe and Ito's; line styles differ too, for black-and-white prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Common.names import counted
from Evaluation.metrics import METRICS
from Evaluation.plots.picture import write_picture
from Evaluation.plots.run_curves import BLUE, GRAY, GREEN, VERMILION

_COLUMNS = 2
_PANEL_INCHES = (3.8, 2.9)
_LEVELS = (("teacher_return", "teacher", GREEN, "--"), ("blind_return", "blind", VERMILION, "-."))


def draw_robustness(result: Mapping[str, Any], path: Path, task_name: str) -> None:
    """Draw the return against the level of each disturbance, with its 95% interval.

    Args:
        result: result of `robustness.measure_robustness`.
        path: path of the PNG in an existing folder.
    """
    curves = result["curves"]
    rows = -(-len(curves) // _COLUMNS)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * _COLUMNS, height * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
        _draw_curve(axes, name, curve, result)
    for axes in grid.flat[len(curves) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(METRICS["return"].label, fontsize=9)
    figure.suptitle(
        f"{task_name}: {counted(result['episodes'], 'episode')} per point, same seeds", fontsize=10
    )
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    write_picture(figure, path, dpi=130)


def _draw_curve(axes: Axes, name: str, curve: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    at = {key: [level[key] for level in curve["levels"]] for key in curve["levels"][0]}
    axes.fill_between(
        at["level"], at["return_low"], at["return_high"], color=BLUE, alpha=0.18, linewidth=0
    )
    axes.plot(at["level"], at["return"], "-", color=BLUE, marker="o", ms=4, label="student (95%)")
    axes.axvline(curve["none"], color=GRAY, linewidth=0.8, linestyle=":", label="undisturbed")
    for key, label, color, style in _LEVELS:
        if key in result:
            axes.axhline(result[key], color=color, linestyle=style, linewidth=1.2, label=label)
    axes.set_title(name.replace("_", " "), fontsize=10)
    axes.set_xlabel(curve["unit"], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
