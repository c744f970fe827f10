"""Figures of the Hopper study, with a colour-blind palette, and markers or positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from Common.names import counted
from Evaluation.plots.curves import Curve, mean_curve
from Evaluation.plots.picture import write_picture
from Evaluation.plots.run_curves import BLUE, GRAY, GREEN, ORANGE, PURPLE, VERMILION
from Evaluation.stats.estimates import Estimate
from Train_Teacher.study.domains import NAMES, Study

_PANEL_INCHES = (4.6, 3.4)
_LOOKS = {  # colour, marker, line
    "reinforce": (BLUE, "o", "-"),
    "reinforce_20": (ORANGE, "s", "--"),
    "actor_critic": (GREEN, "^", "-."),
    "ppo": (VERMILION, "D", "-"),
    "sac": (PURPLE, "v", "--"),
}
_AXES = {"step": "environment steps", "time/episodes": "episodes"}
_RETURN = "return of training episodes"
_BAR_COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, GRAY)


@dataclass(frozen=True)
class Bar:
    """One bar of a panel: an estimate and its values."""

    label: str
    values: Sequence[float]
    estimate: Estimate


def draw_study(study: Study, folder: Path) -> list[Path]:
    """Draw figures 1 to 3 into a folder. Figure 1 is left out if REINFORCE was not run.

    Returns: paths of the files.

    Raises:
        UserError: a file cannot be written, or a training's record is missing or damaged.
    """
    files = []
    reinforce = [algo for algo in study.algos if algo.startswith("reinforce")]
    if reinforce:
        figure = draw_training_returns(study, reinforce, log=False)
        files.append(write_picture(figure, folder / "figure1_reinforce.png"))
    figure = draw_training_returns(study, study.algos, log=True)
    files.append(write_picture(figure, folder / "figure2_algorithms.png"))
    files.append(write_picture(draw_transfers(study), folder / "figure3_domain_transfer.png"))
    return files


def draw_training_returns(study: Study, algos: Sequence[str], *, log: bool) -> Figure:
    """Draw the training return in the source over env steps and over episodes.

    Args:
        log: use logarithmic axes, for algorithms that differ by orders of magnitude.
    """
    figure = Figure(figsize=(2 * _PANEL_INCHES[0], _PANEL_INCHES[1]), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for (x, title), axes in zip(_AXES.items(), panels, strict=True):
        for algo in algos:
            curves = [c for t in study.in_source(algo) if (c := t.curve(x)) is not None]
            _draw_curves(axes, algo, curves)
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(title, fontsize=9)
        _finish(axes)
    panels[0].set_ylabel(_RETURN, fontsize=9)
    panels[0].legend(fontsize=8, frameon=False, loc="best")
    figure.suptitle(
        "Training in the source domain (mean of the last 100 episodes; IQM over seeds, 95%)",
        fontsize=10,
    )
    return figure


def _draw_curves(axes: Axes, algo: str, curves: Sequence[Curve]) -> None:
    color, marker, style = _LOOKS[algo]
    look = {"color": color, "marker": marker, "linestyle": style, "markersize": 4}
    name = f"{NAMES[algo]} ({counted(len(curves), 'seed')})"
    mean = mean_curve(curves)
    for i, curve in enumerate(curves):
        if mean is None:
            every = max(1, len(curve.x) // 8)
            label = name if i == 0 else None
            axes.plot(curve.x, curve.y, **look, markevery=every, linewidth=1.4, label=label)
        else:
            axes.plot(curve.x, curve.y, color=color, linewidth=0.6, alpha=0.35)
    if mean is not None:
        axes.fill_between(mean.x, mean.low, mean.high, color=color, alpha=0.15, lw=0)
        every = max(1, len(mean.x) // 8)
        axes.plot(mean.x, mean.mid, **look, markevery=every, linewidth=1.8, label=name)


def draw_transfers(study: Study) -> Figure:
    """Draw the test returns: one panel per algorithm, one bar per pair of domains."""
    panels: Mapping[str, list[Bar]] = {
        NAMES[algo]: [
            Bar(t.name.replace(" -> ", "\n\u2192 "), t.returns, t.estimate)
            for t in study.transfers
            if t.algo == algo
        ]
        for algo in study.algos
    }
    title = (
        f"Return of {study.test_episodes} test episodes: trained in \u2192 tested in "
        "(mean over seeds, 95%; one dot per seed)"
    )
    return draw_bars(panels, title)


def draw_bars(panels: Mapping[str, Sequence[Bar]], title: str) -> Figure:
    """Draw one bar panel per name, each with its own scale from 0."""
    width = max(3.6 * len(panels), 2 * _PANEL_INCHES[0])
    figure = Figure(figsize=(width, _PANEL_INCHES[1]), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for (name, bars), axes in zip(panels.items(), all_axes, strict=True):
        for i, bar in enumerate(bars):
            color = _BAR_COLORS[i % len(_BAR_COLORS)]
            axes.bar(i, bar.estimate.value, color=color, alpha=0.55, width=0.7)
            if bar.estimate.low is not None and bar.estimate.high is not None:
                middle = (bar.estimate.low + bar.estimate.high) / 2
                arm = (bar.estimate.high - bar.estimate.low) / 2
                axes.errorbar(i, middle, arm, color="black", capsize=4, linewidth=1.2)
            beside = i + np.linspace(-0.12, 0.12, len(bar.values)) if len(bar.values) > 1 else [i]
            axes.plot(beside, bar.values, "o", color="black", markersize=3.5, mfc="white")
        axes.set_xticks(range(len(bars)), [bar.label for bar in bars], fontsize=8)
        axes.set_title(name, fontsize=10)
        axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
        _finish(axes)
        axes.tick_params(axis="x", length=0)
    all_axes[0].set_ylabel("return per episode", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
