"""Curves, down to what is drawn in which panel."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

from Enviroment.errors import UserError
from Evaluation.plots import PANELS, Level, Line, Panel, collect_series, draw_curves, draw_panel


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
    assert axes.get_ylim()[0] == -1.0
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
    with pytest.raises(UserError, match="holds no metric to draw yet"):
        draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()


def test_a_folder_without_a_run_is_told_so(tmp_path):
    with pytest.raises(UserError, match="it is no run folder"):
        draw_curves(tmp_path)
