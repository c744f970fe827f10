"""Every figure: its unit, its names, and where it is shown."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from Evaluation.evaluate.figures import figures_table
from Evaluation.metrics import CURVES, METRICS, Metric
from Evaluation.plots.comparison import draw_comparison, make_groups
from Evaluation.plots.run_curves import PANELS, draw_panel
from Evaluation.report.rows import COLUMNS
from Evaluation.runs import read_run
from Evaluation.table import rows_of, table
from tests.support.run_folders import write_run

# Title of a column, and of an axis.
NAMES = {
    "skill": ("skill", "skill (0 blind, 1 teacher)"),
    "ratio": ("ratio to the teacher", "ratio to the teacher"),
    "return": ("return", "return per episode"),
    "distance": ("distance (m)", "distance at the end [m]"),
    "success": ("success", "share of successful episodes"),
    "sight": ("needs its frames", "return lost with frames of another episode"),
    "accuracy": ("action accuracy", "action accuracy"),
    "kl": ("KL(teacher || student) (nats)", "KL to the teacher [nats]"),
    "pg_loss": ("policy loss", "policy loss"),
    "value_loss": ("value loss", "value loss"),
    "entropy": ("policy entropy (nats)", "policy entropy [nats]"),
    "env_steps": ("env steps", "environment steps"),
    "gradient_steps": ("gradient steps", "gradient steps"),
    "samples": ("samples learned from", "samples learned from"),
    "seconds": ("seconds", "seconds of the run"),
    "minutes": ("minutes", "minutes"),
    "to_0.90": ("min to 0.90", "min to 0.90"),
    "to_0.95": ("min to 0.95", "min to 0.95"),
    "latency": ("latency, median (ms)", "latency, median [ms]"),
    "latency_p99": ("latency, 99th percentile (ms)", "latency, 99th percentile [ms]"),
    "parameters": ("parameters", "parameters"),
    "bytes": ("weights (bytes)", "weights [bytes]"),
}


def test_each_figure_has_one_name_and_unit_on_axes_and_in_columns():
    assert {key: (m.heading, m.label) for key, m in METRICS.items()} == NAMES


@pytest.fixture
def run(tmp_path):
    """A run that has logged every figure of a curve, and was evaluated."""
    figures = {"return": -30.0, "skill": 0.5, "reach_distance": 0.25, "success": 0.5}
    folder = write_run(tmp_path / "run", figures)
    logged = {m.logged.replace("*", "reach"): 0.5 for m in CURVES.values()}
    point = {"time/env_steps": 10, "time/gradient_steps": 20, "time/seconds": 90.0}
    points = [{"step": 0} | logged, {"step": 10} | point]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
    return read_run(folder)


@pytest.mark.parametrize("key", CURVES)
@pytest.mark.parametrize("x", ["env_steps", "gradient_steps", "seconds"])
def test_axes_of_several_runs_have_its_name_and_unit(run, key, x):
    figure, remarks = draw_comparison(make_groups(rows_of([run])), [x], [CURVES[key]])
    (axes,) = figure.axes
    assert remarks == []
    assert (axes.get_xlabel(), axes.get_ylabel()) == (NAMES[x][1], NAMES[key][1])


def test_each_logged_figure_is_drawn_once_of_a_single_run_under_its_name_and_unit():
    drawn = {line.key: panel for panel in PANELS for line in panel.lines}
    shared = {"accuracy", "success"}  # the panel of shares
    for key, metric in METRICS.items():
        if metric.logged and key not in shared:
            axes = Figure().add_subplot()
            draw_panel(axes, drawn[metric.logged], {})
            assert axes.get_title().lower().startswith(NAMES[key][1].lower())
    assert drawn["eval/od_success"] is drawn["eval/action_accuracy"]


def test_tables_of_runs_have_its_column(run):
    (cells,) = table([run])
    expected = {
        "skill": "0.500",
        "return": "-30.00",
        "distance (m)": "0.250",
        "success": "0.50",
        "env steps": "10",
        "gradient steps": "20",
        "minutes": "1.5",
        "min to 0.90": "-",
        "min to 0.95": "-",
    }
    assert {title: cells[title] for title in expected} == expected
    titles = [metric.heading for metric in COLUMNS]
    assert [title for title in titles if title in expected] == list(expected)
    further = {title for title in titles if title not in expected}
    assert further == {
        "ratio to the teacher",
        "needs its frames",
        "latency, median (ms)",
        "parameters",
    }


def test_the_evaluations_table_has_its_name_interval_and_unit():
    figures = {
        "episodes": 4,
        "return": -30.0,
        "return_low": -32.0,
        "return_high": -28.0,
        "teacher_return": -26.0,
        "skill": 0.5,
        "reach_distance": 0.25,
        "success": 0.25,
        "near": 0.5,
        "kl": 0.125,
        "teacher_states_kl": 0.5,
        "latency_p50_ms": 1.5,
        "bytes": 2000,
    }
    task = SimpleNamespace(distance=SimpleNamespace(name="reach_distance", success_below=0.05))
    label, value = figures_table(figures, task).columns  # type: ignore[arg-type]
    assert dict(zip(label.cells, value.cells, strict=True)) == {
        "skill": "0.500",
        "return (95% interval)": "-30.00 (-32.00 to -28.00)",
        "return of teacher": "-26.00",
        "reach distance": "0.250 m",
        "below 0.05 m": "25%",
        "below 0.1 m": "50%",
        "KL(teacher || student), student's states": "0.125 nats",
        "KL(teacher || student), teacher's states": "0.500 nats",
        "latency, median": "1.50 ms",
        "weights": "2,000 bytes",
    }


def test_a_new_figure_is_in_every_table_once_it_is_declared(tmp_path, monkeypatch):
    new = Metric("length", "length", ".0f", "steps", evaluated="length", columns=("table",))
    monkeypatch.setitem(METRICS, "length", new)
    figures = {"episodes": 4, "id_length": 3.0, "length": 5.0}
    (cells,) = table([read_run(write_run(tmp_path / "run", figures))])
    assert cells["length (steps)"] == "5"
    label, value = figures_table(figures, SimpleNamespace(distance=None)).columns  # type: ignore[arg-type]
    assert (list(label.cells), list(value.cells)) == (["length"], ["5 steps"])
