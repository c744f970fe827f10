"""Curves, down to what is drawn in which panel."""

from __future__ import annotations

import dataclasses
import json

import imageio.v3 as imageio
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

from Common.errors import UserError
from Evaluation.metrics import METRICS
from Evaluation.names import name_rows
from Evaluation.plots import run_curves as plots
from Evaluation.plots.__main__ import PlotFlags
from Evaluation.plots.comparison import draw_comparison, make_groups, plot_runs
from Evaluation.plots.curves import mean_curve, read_curve, teacher_levels
from Evaluation.plots.run_curves import (
    PANELS,
    Level,
    Line,
    Panel,
    collect_series,
    draw_curves,
    draw_panel,
)
from Evaluation.runs import find_runs, read_run
from Evaluation.stats.estimates import estimate
from Evaluation.table import rows_of
from tests.support.run_folders import write_run


def write_metrics(run_dir, points):
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))


def drawn(panel, points):
    axes = Figure().add_subplot()
    draw_panel(axes, panel, collect_series(points))
    return axes


def points_of(line):
    return np.column_stack(line.get_data()).tolist()


RUN = [
    {"step": 0, "eval/od_return": -140.0, "eval/od_return_low": -150, "eval/od_return_high": -130}
    | {"eval/teacher_return": -22.0, "eval/blind_return": -37.6, "eval/nothing_return": -53.6}
    | {"eval/od_skill": -6.5, "eval/od_object_goal_distance": 0.25, "eval/action_accuracy": 0.4},
    {"step": 1000, "rollout/ep_return": -100.0, "train/kl": 3.0, "train/pg_loss": -0.01},
    {"step": 2000, "rollout/ep_return": -60.0, "train/kl": 0.3, "train/pg_loss": None},
    {"step": 2000, "eval/od_return": -50.0, "eval/od_return_low": -55, "eval/od_return_high": -45}
    | {"eval/teacher_return": -22.0, "eval/blind_return": -37.6, "eval/nothing_return": -53.6}
    | {"eval/od_skill": -0.8, "eval/od_object_goal_distance": 0.2, "eval/action_accuracy": 0.7},
]


def test_a_run_is_drawn_in_all_its_colours(tmp_path):
    write_metrics(tmp_path, RUN)
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    picture = imageio.imread(path)[..., :3].astype(int)
    assert picture.shape[1] > 1000
    for line in PANELS[0].lines:
        if line.key != "eval/id_return":
            wanted = np.array(matplotlib.colors.to_rgb(line.color)) * 255
            assert (np.abs(picture - wanted).sum(axis=2) < 6).sum() > 100, line.label


def test_a_panel_draws_the_values_and_the_levels():
    axes = drawn(PANELS[0], RUN)
    curves = {line.get_label(): points_of(line) for line in axes.get_lines()}
    assert curves["student, training"] == [[1000, -100], [2000, -60]]
    assert curves["student, unseen seeds (95%)"] == [[0, -140], [2000, -50]]
    assert "student, training seeds" not in curves
    levels = [points_of(line)[0][1] for line in axes.get_lines()[2:]]
    assert levels == [-22.0, -37.6, -53.6]
    assert {text.get_text() for text in axes.texts} == {"teacher", "blind", "do nothing"}
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().bounds == (0, -150, 2000, 105)


def test_no_two_curves_of_a_panel_look_the_same_in_black_and_white():
    for panel in PANELS:
        for same_kind in (panel.lines, panel.levels):
            styles = [curve.style for curve in same_kind]
            assert len(set(styles)) == len(styles), panel.title


def test_an_untrained_students_skill_does_not_flatten_the_rest():
    axes = drawn(PANELS[1], RUN)
    assert axes.get_ylim()[0] == METRICS["skill"].lowest
    assert axes.get_ylim()[1] > 1.0


@pytest.mark.parametrize(("values", "scale"), [([3.0, 0.3], "log"), ([3.0, 0.0], "linear")])
def test_a_logarithmic_panel_needs_values_above_zero(values, scale):
    points = [{"step": i, "train/kl": value} for i, value in enumerate([*values, None])]
    assert (
        drawn(Panel("KL", (Line("train/kl", "KL", "k"),), log=True), points).get_yscale() == scale
    )


def test_a_key_may_end_as_the_task_has_it():
    points = [{"step": 5, "eval/od_fingertip_target_distance": 0.1}]
    axes = drawn(Panel("d", (Line("eval/od_*_distance", "student", "b"),)), points)
    (line,) = axes.get_lines()
    assert points_of(line) == [[5, 0.1]]
    assert line.get_marker() == "o"  # a single point would be invisible as a line


def test_levels_whose_metric_is_missing_are_left_out():
    panel = Panel("r", (Line("a", "a", "b"),), (Level("missing", "m", "k"), Level(1.0, "one", "k")))
    assert [text.get_text() for text in drawn(panel, [{"step": 0, "a": 2.0}]).texts] == ["one"]


def test_series_skip_text_keep_gaps_and_let_the_later_of_two_lines_count():
    # After step 20 the run goes back to a checkpoint of step 10.
    series = collect_series(
        [
            {"step": 10, "a": 1.0, "note": "text"},
            {"step": 20, "a": 2.0},
            {"step": 10, "b": 7},
            {"step": 20, "a": 3.0},
            {"step": 30, "a": None},
        ]
    )
    assert series.keys() == {"a", "b"}
    assert series["a"][0].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(series["a"][1], [1.0, 3.0, np.nan])


def test_a_run_that_has_just_begun_is_told_so(tmp_path):
    write_metrics(tmp_path, [{"step": 0, "time/iterations": 1}, {"step": 1, "train/kl": None}])
    with pytest.raises(UserError, match="holds no metrics to draw yet"):
        draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()


def test_a_folder_without_a_run_is_told_so(tmp_path):
    with pytest.raises(UserError, match="it is not a run folder"):
        draw_curves(tmp_path)


# -- several runs ----------------------------------------------------------------------------------


def run_of(folder, points, figures=None, **more):
    """A run with these logging points; with figures a finished one."""
    more = {"task": "Pusher", "size": None, "mode": "ImpaalaSmall"} | more
    write_run(folder, figures, **more)
    write_metrics(folder, points)
    return read_run(folder)


def skills(*values, every=100):
    """Points of an on-policy run that was evaluated every so many env steps."""
    return [
        {"step": every * i, "time/env_steps": every * i, "eval/od_skill": value}
        for i, value in enumerate(values)
    ]


def curve_of(run, x, metric="skill"):
    curve = read_curve(run, METRICS[metric], x)
    return None if curve is None else np.column_stack([curve.x, curve.y]).tolist()


def test_an_evaluation_lies_where_the_clocks_were(tmp_path):
    run = run_of(
        tmp_path / "ppd",
        [
            {"step": 0, "eval/od_skill": -1.0},
            {"step": 100, "time/env_steps": 100, "time/gradient_steps": 8, "time/seconds": 5.0},
            {"step": 100, "eval/od_skill": 0.1},
            {"step": 150, "eval/od_skill": 0.2},
            {"step": 200, "time/env_steps": 200, "time/gradient_steps": 16, "time/seconds": 9.0},
            {"step": 200, "eval/od_skill": None},
        ],
        training={"num_epochs": 4},
    )
    assert curve_of(run, "env_steps") == [[0, -1.0], [100, 0.1], [150, 0.2]]
    assert curve_of(run, "gradient_steps") == [[0, -1.0], [8, 0.1], [12, 0.2]]
    assert curve_of(run, "seconds") == [[0, -1.0], [5, 0.1], [7, 0.2]]
    assert curve_of(run, "samples") == [[0, -1.0], [400, 0.1], [600, 0.2]]  # 4 epochs
    assert curve_of(run, "env_steps", "kl") is None


def test_cloning_stands_at_its_datasets_env_steps_and_dagger_goes_on_from_there(tmp_path):
    run = run_of(
        tmp_path / "dagger",
        [
            {"step": 0, "time/env_steps": 500, "time/gradient_steps": 0},
            {"step": 0, "eval/od_skill": 0.1},
            {"step": 50, "time/env_steps": 500, "time/gradient_steps": 50, "time/seconds": 2.0},
            {"step": 50, "eval/od_skill": 0.5},
            {"step": 50, "time/env_steps": 600, "time/gradient_steps": 50},  # the next round
            {"step": 90, "time/env_steps": 600, "time/gradient_steps": 90, "time/seconds": 4.0},
            {"step": 90, "eval/od_skill": 0.7},
        ],
        method="Dagger_phase",
        training={"batch_size": 10},
    )
    assert curve_of(run, "env_steps") == [[500, 0.5], [600, 0.7]]
    assert curve_of(run, "gradient_steps") == [[0, 0.1], [50, 0.5], [90, 0.7]]
    assert curve_of(run, "samples") == [[0, 0.1], [500, 0.5], [900, 0.7]]


def test_of_older_runs_bc_stands_at_its_dataset_and_a_round_counts_from_its_first_step(tmp_path):
    """Version 0.1 told env steps only after a collection, and evaluated after it: 500 states that
    BC had learned from, then 2 rounds of 3 x (103 // 3) = 102 env steps.
    """
    points = [
        {"step": 0, "dagger/round": 1.0, "time/env_steps": 602, "time/gradient_steps": 0},
        {"step": 0, "eval/od_skill": 0.5},
        {"step": 40, "eval/od_skill": 0.6},
        {"step": 50, "time/env_steps": 602, "time/gradient_steps": 50},
        {"step": 50, "dagger/round": 2.0, "time/env_steps": 704, "time/gradient_steps": 50},
        {"step": 50, "eval/od_skill": 0.7},
        {"step": 60, "eval/od_skill": 0.8},
    ]
    run = run_of(tmp_path / "a", points, method="Dagger_phase", training={"num_envs": 3})
    cloning = {"folder_Dagger": "bc", "round_env_steps": 103}
    run = dataclasses.replace(run, config={**run.config, "cloning": cloning})
    assert curve_of(run, "env_steps") == [[500, 0.5], [602, 0.7], [704, 0.8]]


@pytest.mark.parametrize(
    ("env_steps", "title"), [((0, 100), "environment steps"), ((500, 500), "gradient steps")]
)
def test_the_axis_says_what_a_runs_steps_are(tmp_path, monkeypatch, env_steps, title):
    write_metrics(
        tmp_path,
        [
            {"step": step, "time/env_steps": count, "eval/od_skill": 0.1, "train/kl": 1.0}
            for step, count in zip((0, 100), env_steps, strict=True)
        ],
    )
    figures = []
    monkeypatch.setattr(plots, "FigureCanvasAgg", figures.append)
    draw_curves(tmp_path)
    assert [axes.get_xlabel() for axes in figures[0].axes] == [title, title]


def test_cloning_has_its_datasets_env_steps_before_its_first_gradient_step(tmp_path):
    later = {"step": 50, "time/env_steps": 500, "time/gradient_steps": 50}
    points = [{"step": 0, "eval/od_skill": 0.1}, later]
    run = run_of(tmp_path / "bc", points, method="BC_phase")
    assert curve_of(run, "env_steps") == [[500, 0.1]]
    assert curve_of(run, "gradient_steps") == [[0, 0.1]]


def test_what_a_run_logged_again_counts(tmp_path):
    points = skills(0.0, 0.1, 0.2)
    again = {"step": 100, "time/env_steps": 100, "eval/od_skill": 0.3}
    run = run_of(tmp_path / "a", [*points, again])
    assert curve_of(run, "env_steps") == [[0, 0.0], [100, 0.3]]


def test_the_mean_is_that_of_the_statistics_and_an_ended_run_keeps_its_value(tmp_path):
    values = [(0.0, 0.4, 0.8), (0.2, 0.5, 0.9), (0.1, 0.9), (0.0, 0.1, 0.1, 0.1)]
    curves = []
    for i, of_run in enumerate(values):
        run = run_of(tmp_path / str(i), skills(*of_run), {"skill": 1.0} if i < 3 else None)
        curves.append(read_curve(run, METRICS["skill"], "env_steps"))
    mean = mean_curve(curves)  # without the last, which was cut short
    assert mean is not None
    assert mean.x.tolist() == [0, 100, 200]
    for i, at in enumerate([(0.0, 0.2, 0.1), (0.4, 0.5, 0.9), (0.8, 0.9, 0.9)]):
        expected = estimate({"": at}, resamples=2000)
        assert (mean.mid[i], mean.low[i], mean.high[i]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
    assert mean_curve(curves[:1]) is None


def test_each_teacher_has_its_line_and_none_is_drawn_for_none(tmp_path):
    points = [{"step": 0, "time/env_steps": 0, "eval/teacher_return": -25.0, "eval/od_return": -30}]
    taught = run_of(tmp_path / "a", points, teacher="a")
    alone = run_of(tmp_path / "b", points, teacher=None)
    assert teacher_levels([taught, alone], METRICS["return"]) == [-25.0]
    assert teacher_levels([alone], METRICS["return"]) == []
    assert teacher_levels([alone], METRICS["skill"]) == []
    assert teacher_levels([taught], METRICS["skill"]) == [1.0]


def runs_of_two_methods(folder):
    runs = []
    for i in range(2):
        points = skills(0.0, 0.5 + 0.1 * i, 0.9)
        runs.append(run_of(folder / f"ppd{i}", points, {"skill": 0.9}, run_index=i))
    points = skills(0.0, 0.3, 0.5)
    runs.append(run_of(folder / "bc", points, {"skill": 0.5}, method="BC_phase", teacher="a"))
    runs.append(run_of(folder / "cut", skills(0.0, 0.2), None, method="PPO", teacher=None))
    return runs


def test_the_figure_tells_means_single_runs_and_cut_ones_apart(tmp_path):
    groups = make_groups(rows_of(runs_of_two_methods(tmp_path)))
    figure, remarks = draw_comparison(groups, ["env_steps"], [METRICS["skill"]])
    assert remarks == []
    lines = {
        (line.get_linewidth(), tuple(map(tuple, points_of(line))))
        for line in figure.axes[0].get_lines()
    }
    assert (2.0, ((0, 0.0), (100, 0.55), (200, 0.9))) in lines  # PPD's mean
    assert (0.8, ((0, 0.0), (100, 0.5), (200, 0.9))) in lines  # one of its runs
    assert (1.0, ((0, 0.0), (100, 0.3), (200, 0.5))) in lines  # BC's only run
    assert [line.get_marker() for line in figure.axes[0].get_lines()].count("x") == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "BC, Small (1 run)",
        "PPD, Small (2 runs)",
        "PPO, Small (0 runs)",
        "end of a run that was cut short or is in progress",
    ]
    assert [text.get_text() for text in figure.axes[0].texts] == ["teacher"]


def test_no_two_groups_look_alike(tmp_path):
    runs = []
    for i in range(60):
        training = {"gamma": i / 100}
        runs.append(run_of(tmp_path / str(i), skills(0.1), {"skill": 0.1}, training=training))
    looks = [(g.color, g.marker, str(g.style)) for g in make_groups(rows_of(runs))]
    assert len(set(looks)) == 60


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_figure_of_runs_is_written(tmp_path, suffix, capsys):
    runs_of_two_methods(tmp_path / "runs")
    run_of(tmp_path / "runs" / "begun", [{"step": 0, "time/env_steps": 0}], None, run_index=5)
    output = tmp_path / f"out{suffix}"
    plot_runs(PlotFlags((tmp_path / "runs",), output=output))
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert output.read_bytes().startswith(heads[suffix])
    assert "begun logged no eval/od_skill" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": ("kl",)}, r"None of these runs logged train/kl.*eval/od_skill"),
        ({"x": ("seconds",)}, "against seconds"),
        ({"output": "out.gif"}, "must end in one of .png, .pdf, .svg"),
        ({"output": "no/out.png"}, "folder that exists"),
        ({"runs": "nowhere"}, "is not a folder"),
        ({"runs": "."}, "of several:\n.*Reacher.*\n.*Pusher"),
    ],
)
def test_a_figure_that_cannot_be_is_refused(tmp_path, change, said):
    runs_of_two_methods(tmp_path / "runs")
    run_of(tmp_path / "reacher", skills(0.1), {"skill": 0.1}, task="Reacher")
    flags = {"runs": "runs", "output": "out.png"} | change
    flags |= {"runs": (tmp_path / flags["runs"],), "output": tmp_path / flags["output"]}
    with pytest.raises(UserError, match=said):
        plot_runs(PlotFlags(**flags))
    assert not list(tmp_path.glob("out*"))


def test_runs_that_began_with_bundles_of_one_name_are_two_curves(tmp_path):
    """Every student's bundle ends in `student`."""
    for name, value in (("one", 0.1), ("two", 0.9)):
        begun = {"init_from": f"runs/{name}/student"}
        run_of(tmp_path / name, skills(0.0, value), {"skill": value}, training=begun)
    groups = make_groups(rows_of(find_runs([tmp_path])))
    assert sorted(group.name for group in groups) == [
        "PPD, Small, init_from one/student",
        "PPD, Small, init_from two/student",
    ]
    alike = [dataclasses.replace(group, name="the same") for group in groups]
    for drawn_groups in (groups, alike):
        figure, _ = draw_comparison(drawn_groups, ["env_steps"], [METRICS["skill"]])
        ends = {points_of(line)[-1][1] for line in figure.axes[0].get_lines()}
        assert {0.1, 0.9} <= ends


def test_names_say_what_differs_within_a_method_and_no_more(tmp_path):
    settings = [
        ("PPD", {"random_shift": 0, "gamma": 0.9}, 0),
        ("PPD", {"random_shift": 4, "gamma": 0.9}, 0),
        ("BC_phase", {"random_shift": 0, "gamma": 0.5}, 0),
        ("Dagger_phase", {"init_from": "runs/bc_0"}, 0),
        ("Dagger_phase", {"init_from": "runs/bc_1"}, 1),
    ]
    runs = [
        run_of(tmp_path / str(i), skills(0.1), None, method=m, training=t, run_index=index)
        for i, (m, t, index) in enumerate(settings)
    ]
    assert sorted(map(str, name_rows(rows_of(runs)))) == [
        "BC, Small",
        "DAgger, Small",  # each run began with the one of its own seed
        "PPD, Small, random_shift 0",
        "PPD, Small, random_shift 4",
    ]
