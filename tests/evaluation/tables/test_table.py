"""Runs read from their folders, and the table that sets them side by side."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from scipy.stats import trim_mean

from Common.errors import UserError
from Evaluation.report.entries import find_entries
from Evaluation.runs import find_runs, read_run
from Evaluation.table import as_csv, as_markdown, rows_of, table
from tests.support.run_folders import write_run


def figures(skill):
    return {"skill": skill, "return": -30.0 + 10 * skill}


def test_runs_that_differ_by_seed_alone_share_a_row(tmp_path):
    write_run(tmp_path / "a", figures(0.8), run_index=0)
    write_run(tmp_path / "b", figures(0.9), run_index=1)
    write_run(tmp_path / "c", figures(0.5), method="Sdistillation")
    cells = table(find_runs([tmp_path]))
    assert [line["method"] for line in cells] == ["PPD", "student-distill"]
    assert cells[0]["runs"] == "2"
    assert cells[0]["skill"] == "0.850 (0.800 to 0.900)"
    assert cells[0]["return"] == "-21.50 (-22.00 to -21.00)"
    assert cells[1]["skill"] == "0.500"


def test_interquartile_means_have_their_bootstrap_interval(tmp_path):
    """Of four runs, the lowest and the highest are dropped; scipy's trim_mean is the reference."""
    skills = [0.2, 0.7, 0.8, 0.9]
    for index, skill in enumerate(skills):
        write_run(tmp_path / str(index), figures(skill), run_index=index)
    write_run(tmp_path / "alone", figures(0.5), method="Sdistillation")
    cells = table(find_runs([tmp_path]), "iqm")
    assert trim_mean(skills, 0.25) == pytest.approx(0.75)
    draws = np.random.default_rng(1).choice(skills, (20_000, 4))
    low, high = np.percentile(trim_mean(draws, 0.25, axis=1), [2.5, 97.5])
    value, *ends = map(float, re.findall(r"[\d.]+", cells[0]["skill"]))
    assert value == 0.75 and ends == pytest.approx([low, high], abs=0.03)
    assert cells[1]["skill"] == "0.500"


def test_a_copy_of_a_run_is_no_further_seed(tmp_path, capsys):
    run = write_run(tmp_path / "a", figures(0.8))
    (run / "student").mkdir()
    (run / "student" / "student.json").write_text('{"sha256": "1"}')
    again = write_run(tmp_path / "again", figures(0.9))
    (again / "student").mkdir()
    (again / "student" / "student.json").write_text('{"sha256": "2"}')
    write_run(tmp_path / "cut", None)
    shutil.copytree(run, tmp_path / "more" / "of_a")
    shutil.copytree(tmp_path / "cut", tmp_path / "more" / "of_cut")
    (tmp_path / "more" / "of_a" / "evaluation.json").write_text(json.dumps(figures(0.7)))
    runs = find_runs([tmp_path])
    assert [run.folder.name for run in runs] == ["a", "again", "cut"]
    note = capsys.readouterr().err
    assert note.count("Note:") == 1
    assert f"more/of_a is a copy of {tmp_path / 'a'}" in note and "of_cut is a copy" in note


def test_runs_behind_links_count_and_circles_end(tmp_path):
    elsewhere = write_run(tmp_path / "disk" / "set" / "a", {"skill": 0.5}).parent
    runs = tmp_path / "runs"
    write_run(runs / "z", {"skill": 0.5}, run_index=1)
    (runs / "linked").symlink_to(elsewhere)
    (runs / "again").symlink_to(elsewhere)  # the same run, once
    (runs / "another_z").symlink_to(runs / "z")
    (elsewhere / "up").symlink_to(runs)  # a circle
    (runs / "itself").symlink_to(runs / "itself")
    (runs / "nowhere").symlink_to(tmp_path / "gone")
    found = find_runs([runs])
    assert [run.folder for run in found] == [runs / "again" / "a", runs / "z"]
    named = [entry.run.folder for entry in find_entries([runs]).entries]
    assert named == [runs / "again" / "a", runs / "z"]


def test_the_distance_is_the_tasks_own(tmp_path):
    write_run(tmp_path / "a", {**figures(0.8), "fingertip_target_distance": 0.0123}, task="Reacher")
    assert table(find_runs([tmp_path]))[0]["distance (m)"] == "0.012"


def test_the_distance_is_that_on_unseen_seeds(tmp_path):
    """`Evaluation.evaluate` adds figures on training's seeds, whose names sort before some."""
    distances = {"id_object_goal_distance": 0.5, "object_goal_distance": 0.125}
    write_run(tmp_path / "a", figures(0.8) | distances, task="Pusher")
    assert table(find_runs([tmp_path]))[0]["distance (m)"] == "0.125"


def test_flags_that_differ_are_named_and_the_others_are_not(tmp_path):
    write_run(tmp_path / "a", figures(0.8), training={"PPD_parameter": 1.0, "gamma": 0.9})
    write_run(tmp_path / "b", figures(0.9), training={"PPD_parameter": 5.0, "gamma": 0.9})
    cells = table(find_runs([tmp_path]))
    assert [line["PPD_parameter"] for line in cells] == ["1.0", "5.0"]
    assert "gamma" not in cells[0]


def test_runs_of_older_versions_had_what_new_flags_leave_unchanged(tmp_path):
    write_run(tmp_path / "old", figures(0.5), run_index=0)
    new = write_run(tmp_path / "new", figures(0.7), run_index=1)
    config = json.loads((new / "config.json").read_text())
    config["config"]["student"] |= {"keypoints": 0, "randomise_looks": False, "recurrent": "none"}
    (new / "config.json").write_text(json.dumps(config))
    (line,) = table(find_runs([tmp_path]))
    assert line["runs"] == "2"
    config["config"]["student"]["keypoints"] = 32
    (new / "config.json").write_text(json.dumps(config))
    assert [line["keypoints"] for line in table(find_runs([tmp_path]))] == ["0", "32"]


def test_the_same_noise_on_a_teacher_with_other_seeds_is_one_experiment(tmp_path):
    write_run(tmp_path / "a", figures(0.8), corrupt=0.05, run_index=0)
    write_run(tmp_path / "b", figures(0.9), corrupt=0.05, run_index=1)
    write_run(tmp_path / "c", figures(0.9), run_index=0)
    assert [len(row.runs) for row in rows_of(find_runs([tmp_path]))] == [1, 2]


def test_a_run_cut_short_is_shown_as_such(tmp_path):
    write_run(tmp_path / "a", figures(0.8), run_index=0)
    write_run(tmp_path / "b", None, run_index=1)
    (cells,) = table(find_runs([tmp_path]))
    assert cells["runs"] == "1 (+1 cut short)"
    assert cells["skill"] == "0.800, 1 of 2 runs"


def test_time_to_a_skill_is_that_of_the_next_logging_point(tmp_path):
    folder = write_run(tmp_path / "a", figures(0.9))
    points = [
        {"step": 1, "eval/od_skill": 0.2},
        {"step": 2, "time/seconds": 60.0},
        {"step": 3, "eval/od_skill": 0.92},
        {"step": 4, "time/seconds": 150.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
    run = read_run(folder)
    assert run.seconds_to(0.1) == 60.0
    assert run.seconds_to(0.9) == 150.0
    assert run.seconds_to(0.95) is None
    (cells,) = table([run])
    assert (cells["minutes"], cells["min to 0.90"], cells["min to 0.95"]) == ("2.5", "2.5", "-")


def test_both_forms_hold_every_cell(tmp_path):
    write_run(tmp_path / "a", figures(0.8))
    cells = table(find_runs([tmp_path]))
    assert "| PPD | State |" in as_markdown(cells)
    assert as_csv(cells).splitlines()[1].startswith("Hopper,PPD,State")


def test_what_holds_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match="No student's run found"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="is not a folder"):
        find_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="is not a run folder"):
        read_run(tmp_path)
    write_run(tmp_path / "old", figures(0.8), method={"PPD": True})
    with pytest.raises(UserError, match="older version"):
        rows_of(find_runs([tmp_path]))
    folder = write_run(tmp_path / "a", figures(0.8))
    (folder / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_run(folder)


def test_how_methods_learn_is_compared_within_a_method_and_who_teaches_across(tmp_path):
    write_run(tmp_path / "a", figures(0.8), training={"learning_rate": 1e-3, "clip_range": 0.2})
    write_run(tmp_path / "b", figures(0.7), training={"learning_rate": 3e-3, "clip_range": 0.2})
    write_run(tmp_path / "c", figures(0.5), method="BC_phase", training={"batch_size": 128})
    cells = table(find_runs([tmp_path]))
    assert [line["learning_rate"] for line in cells] == ["-", "0.001", "0.003"]
    assert not {"clip_range", "batch_size", "teacher_sha256"} & cells[0].keys()
    write_run(tmp_path / "d", figures(0.5), method="PPO", teacher="b")
    assert "teacher_sha256" in table(find_runs([tmp_path]))[0]


def test_no_cell_is_a_formula_and_figures_stay_as_they_are():
    cells = {
        "=HYPERLINK(1)": "=cmd|' /C calc'!A0",
        "plus": "+1+1",
        "minus": "-2+3",
        "at": "@SUM(1)",
        "tab": "\t=1",
        "wide": "\uff1d1",
        "number": "-21.50",
        "some": "-21.50 (-22.00 to -21.00), 2 of 3 runs",
        "many": "-1,234.5",
        "none": "-",
    }
    (titles, line) = csv.reader(io.StringIO(as_csv([cells])))
    assert titles == ["'=HYPERLINK(1)", *list(cells)[1:]]
    kept = ["-21.50", "-21.50 (-22.00 to -21.00), 2 of 3 runs", "-1,234.5", "-"]
    assert line == ["'" + text for text in list(cells.values())[:6]] + kept
    assert as_markdown([{"a": "x|y"}]) == "| a |\n| --- |\n| x\\|y |\n"
