"""The paper's tables of hand-made run folders."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from Common.errors import UserError
from Evaluation.runs import find_runs
from Evaluation.stats.__main__ import main
from Evaluation.stats.estimates import Estimate
from Evaluation.stats.paper_numbers import (
    Place,
    human_normalised,
    normalised,
    paper_numbers,
    suite_of,
)
from Evaluation.stats.scored_runs import score_runs
from Evaluation.stats.tables import make_table
from tests.support.run_folders import write_run


def score(value, teacher=1000.0, **more):
    return {"return": value, "teacher_return": teacher, **more}


def near(*numbers: float) -> Estimate:
    approximate: list[Any] = [pytest.approx(number) for number in numbers]
    return Estimate(*approximate)


def table_of(folder, number):
    return make_table(number, score_runs(find_runs([folder]))[0])


def print_tables(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stats", *map(str, arguments)])
    main()


def failure(monkeypatch, capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        print_tables(monkeypatch, *arguments)
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


# The paper's numbers


def test_the_papers_numbers_as_it_prints_them():
    mujoco = Place("mujoco", "", "larger", "sd")
    assert paper_numbers(1)[mujoco] == Estimate(1.00, 1.00, 1.02)
    assert paper_numbers(1)[Place("procgen-test", "", "smaller", "ppd")] == Estimate(
        0.93, 0.87, 1.01
    )
    assert len(paper_numbers(1)) == 27
    assert paper_numbers(5)[Place("mujoco", "halfcheetah", "larger", "ppd")] == Estimate(6631)
    assert paper_numbers(5)[Place("procgen-train", "miner", "same", "td")] == Estimate(2.34)
    assert paper_numbers(5)[Place("atari", "pong", "", "teacher")] == Estimate(1.17)
    assert paper_numbers(6)[Place("atari", "qbert", "", "corrupted teacher")] == Estimate(0.52)
    assert paper_numbers(7)[Place("atari", "", "larger", "ppo")] == Estimate(0.38, 0.27, 0.51)
    assert paper_numbers(7)[Place("procgen-test", "", "larger", "teacher")] == Estimate(5.07)


def test_what_stands_for_the_papers_table_2():
    # 0.19, 0.41, 0.66, 0.80 without the first and the last.
    ppd = paper_numbers(2)[Place("atari", "", "larger", "ppd")]
    assert ppd == near((0.41 * 0.66) ** 0.5)
    assert Place("procgen-test", "", "larger", "corrupted teacher") in paper_numbers(2)


@pytest.mark.parametrize(
    ("env", "suite"),
    [
        ("HalfCheetah-v5", "mujoco"),
        ("Hopper", "mujoco"),
        ("MsPacman", "atari"),
        ("PongNoFrameskip-v4", "atari"),
        ("coinrun", "procgen-test"),
        ("Pusher", None),
        ("Walker2d", None),
    ],
)
def test_suites(env, suite):
    assert suite_of(env) == suite
    assert normalised("half-cheetah") == normalised("HalfCheetah-v5") == "halfcheetah"


def test_human_normalised_scores():
    # (14.6 + 20.7) / (14.6 + 20.7), and half of the way from 363.9 to 16926.
    assert human_normalised("PongNoFrameskip-v4", 14.6) == pytest.approx(1.0)
    assert human_normalised("BeamRider", (363.9 + 16926) / 2) == pytest.approx(0.5)


# Tables of runs


def test_table_1_is_a_geometric_iqm_over_environments_and_seeds(tmp_path):
    write_run(tmp_path / "h0", score(500.0), run_index=0)
    write_run(tmp_path / "h1", score(2000.0), run_index=1)
    write_run(tmp_path / "c0", score(900.0, 300.0), task="HalfCheetah")
    write_run(tmp_path / "c1", score(300.0, 300.0), task="HalfCheetah", run_index=1)
    write_run(tmp_path / "td", score(800.0), method="Tdistillation")
    write_run(tmp_path / "x", score(123.0), method="PPO")  # table 7's
    table = table_of(tmp_path, 1)
    (row,) = table.rows
    assert list(row) == ["suite", "size", "runs", "td", "td, paper", "ppd", "ppd, paper"]
    assert (row["suite"], row["size"], row["runs"]) == ("mujoco", "larger", "1 to 2")
    ppd = row["ppd"]
    assert isinstance(ppd, Estimate)
    assert ppd.value == pytest.approx(2**0.5)  # of 0.5, 1, 2, 3 the middle two
    assert (ppd.low, ppd.high) == pytest.approx((0.5**0.5, 6**0.5))
    assert row["td"] == near(0.8)
    assert row["ppd, paper"] == Estimate(1.00, 0.99, 1.01)
    assert row["td, paper"] == Estimate(0.99, 0.97, 1.00)
    assert "mujoco, larger: td lacks HalfCheetah." in table.notes
    assert "Env steps per student here: 1,000." in table.notes
    assert "Env steps per student in the paper: 2,000,000." in table.notes
    assert not any("P(" in note for note in table.notes)  # not over the same environments


def test_sizes_come_in_the_papers_order_and_ppd_is_compared(tmp_path):
    for size in ("same", "smaller"):
        for index, value in enumerate((100.0, 300.0)):
            write_run(tmp_path / f"{size}{index}", score(value), size=size, run_index=index)
            folder = tmp_path / f"{size}sd{index}"
            write_run(folder, score(200.0), size=size, run_index=index, method="Sdistillation")
    table = table_of(tmp_path, 1)
    assert [row["size"] for row in table.rows] == ["smaller", "same"]
    assert "mujoco, same: P(ppd > sd) = 0.50 [0.00, 1.00]." in table.notes


def test_tasks_that_are_not_in_the_paper_have_our_columns_alone(tmp_path):
    for index, value in enumerate((-30.0, -26.0)):
        figures = score(value, -24.0, blind_return=-40.0)
        folder = tmp_path / str(index)
        write_run(folder, figures, task="Pusher", size=None, mode="ImpaalaSmall", run_index=index)
    table = table_of(tmp_path, 1)
    (row,) = table.rows
    assert (row["suite"], row["size"]) == ("Pusher", "ImpaalaSmall")
    # (-30 + 40) / 16 and (-26 + 40) / 16
    assert row["ppd"] == near(0.75, 0.625, 0.875)
    assert "ppd, paper" not in row
    assert any(note.startswith("Pusher: skill") for note in table.notes)
    assert not any("paper" in note for note in table.notes)


def test_atari_is_human_normalised(tmp_path):
    # Pong: 14.6 is 1, -20.7 is 0; halfway is -3.05.
    write_run(tmp_path / "p", score(-3.05, 14.6), task="Pong")
    (row,) = table_of(tmp_path, 5).rows
    assert row["teacher"] == near(1.0)
    assert row["larger ppd"] == near(0.5)
    assert row["larger ppd, paper"] == Estimate(1.17)
    assert row["teacher, paper"] == Estimate(1.17)
    assert table_of(tmp_path, 1).rows[0]["ppd"] == near(0.5)


def test_a_student_that_scores_below_zero_is_no_reason_to_show_nothing(tmp_path):
    write_run(tmp_path / "0", score(-100.0))
    write_run(tmp_path / "1", score(900.0), run_index=1)
    table = table_of(tmp_path, 1)
    ppd = table.rows[0]["ppd"]
    assert isinstance(ppd, Estimate)
    assert ppd.value == pytest.approx(0.4)  # (-0.1 + 0.9) / 2
    assert "mujoco: ratio to the teacher, IQM (not every score is above 0)." in table.notes


def test_imperfect_teachers(tmp_path):
    for index, (value, noisy) in enumerate(((800.0, 500.0), (200.0, 125.0))):
        figures = score(value, corrupted_teacher_return=noisy)
        write_run(tmp_path / f"c{index}", figures, corrupt=0.05, run_index=index)
    write_run(tmp_path / "perfect", score(999.0))
    (row,) = table_of(tmp_path, 2).rows
    ppd, teacher = row["ppd"], row["corrupted teacher"]
    assert isinstance(ppd, Estimate) and isinstance(teacher, Estimate)
    assert (ppd.value, ppd.low, ppd.high) == pytest.approx((0.4, 0.2, 0.8))
    assert teacher.value == pytest.approx(0.25)  # sqrt(0.5 * 0.125)
    (row,) = table_of(tmp_path, 6).rows
    assert row["env"] == "Hopper"
    assert row["teacher"] == Estimate(1000.0)  # one, though noise made two of it
    assert row["corrupted teacher"] == teacher
    assert row["larger ppd"] == ppd
    assert table_of(tmp_path, 1).rows[0]["ppd"] == near(0.999)


def test_imperfect_teachers_beside_the_paper(tmp_path):
    # Qbert: random 163.9, human 13455.
    figures = {"return": 13455.0, "teacher_return": 13455.0, "corrupted_teacher_return": 6809.45}
    write_run(tmp_path / "q", figures, task="Qbert", corrupt=0.05)
    (row,) = table_of(tmp_path, 6).rows
    assert row["corrupted teacher"] == near(0.5)
    assert row["corrupted teacher, paper"] == Estimate(0.52)
    assert row["larger ppd, paper"] == Estimate(0.80)
    table = table_of(tmp_path, 2)
    assert table.rows[0]["ppd, paper"] == near((0.41 * 0.66) ** 0.5)
    assert "The paper's numbers are the geometric IQMs of its table 6." in table.notes


def test_table_7_is_about_ppo(tmp_path):
    write_run(tmp_path / "ppo", score(2.0, 8.0), task="coinrun", method="PPO")
    write_run(tmp_path / "ppd", score(8.0, 8.0), task="coinrun")
    (row,) = table_of(tmp_path, 7).rows
    titles = ("teacher", "teacher, paper", "ppo", "ppo, paper", "ppd", "ppd, paper")
    assert tuple(row) == ("suite", "size", "runs", *titles)
    assert row["teacher"] == Estimate(8.0)
    assert row["ppo"] == near(0.25)
    assert row["ppo, paper"] == Estimate(0.71, 0.63, 0.79)


# The command


def test_markdown_names_what_is_not_shown(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "done", score(900.0))
    write_run(tmp_path / "cut", None, run_index=1)
    write_run(tmp_path / "blind", score(100.0), blind=True)
    write_run(tmp_path / "old", score(100.0), method={"PPD": True})
    write_run(tmp_path / "alone", {"return": 1.0}, run_index=2)
    print_tables(monkeypatch, tmp_path)
    out = capsys.readouterr().out
    assert "### Table 1: Students against their teachers" in out
    assert "| mujoco | larger | 1 | 0.90 | 1.00 [0.99, 1.01] |" in out
    assert "| mujoco | Hopper | 1 | 1000 | 2510 | 900 | 2527 |" in out
    assert "### Table 2" not in out and "### Table 7" not in out
    below = out[out.index("Not shown:") :]
    assert f"{tmp_path / 'cut'} was cut short: it has no evaluation.json" in below
    assert f"{tmp_path / 'blind'} is of a blind student" in below
    assert f"{tmp_path / 'old'} was written by an older version" in below
    assert f"{tmp_path / 'alone'} has no teacher_return" in below


def test_csv_has_a_column_for_each_number(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "0", score(250.0))
    write_run(tmp_path / "1", score(1000.0), run_index=1)
    write_run(tmp_path / "cut", None, run_index=2)
    print_tables(monkeypatch, tmp_path, "--table", 1, "--format", "csv")
    captured = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(captured.out))
    assert row["suite"] == "mujoco"
    assert [float(row[c]) for c in ("ppd", "ppd_low", "ppd_high")] == [0.5, 0.25, 1.0]
    assert [float(row[f"ppd, paper{c}"]) for c in ("", "_low", "_high")] == [1.0, 0.99, 1.01]
    assert "geometric IQM" in captured.err and "was cut short" in captured.err


def test_latex_is_escaped(tmp_path, monkeypatch, capsys):
    figures = score(900.0)
    write_run(tmp_path / "0", figures, task="My_Task", size=None, mode="50%")
    print_tables(monkeypatch, tmp_path, "--table", 1, "--format", "latex")
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith("%")]
    assert lines == [
        r"\begin{tabular}{llll}",
        r"\toprule",
        r"suite & size & runs & ppd \\",
        r"\midrule",
        r"My\_Task & 50\% & 1 & 0.90 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_one_table_that_cannot_be_made_does_not_hide_the_others(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "0", score(-30.0, -24.0), task="Pusher")  # no blind student
    print_tables(monkeypatch, tmp_path)
    out = capsys.readouterr().out
    assert "### Table 5" in out and "### Table 1" not in out
    assert "No table 1." in out and "python -m Evaluation.blind" in out


# Bad input


def test_no_runs(tmp_path, monkeypatch, capsys):
    assert "No student's run found" in failure(monkeypatch, capsys, tmp_path)
    assert "is not a folder" in failure(monkeypatch, capsys, tmp_path / "nowhere")
    write_run(tmp_path / "cut", None)
    assert "was cut short" in failure(monkeypatch, capsys, tmp_path)


def test_unknown_tables_and_formats(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "0", score(900.0))
    assert "3" in failure(monkeypatch, capsys, tmp_path, "--table", 3)
    assert "html" in failure(monkeypatch, capsys, tmp_path, "--format", "html")


@pytest.mark.parametrize(("number", "needed"), [(2, "--corrupt_teacher"), (7, "--PPO")])
def test_a_table_without_its_runs(tmp_path, monkeypatch, capsys, number, needed):
    write_run(tmp_path / "0", score(900.0))
    assert needed in failure(monkeypatch, capsys, tmp_path, "--table", number)


def test_csv_of_several_tables(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "0", score(900.0))
    said = failure(monkeypatch, capsys, tmp_path, "--format", "csv")
    assert "Choose one of 1, 5 by --table." in said


def test_runs_of_different_experiments_are_not_averaged(tmp_path, monkeypatch, capsys):
    for index, weight in enumerate((5.0, 0.5)):
        training = {"PPD_parameter": weight}
        write_run(tmp_path / str(index), score(900.0), run_index=index, training=training)
    said = failure(monkeypatch, capsys, tmp_path)
    assert f"--PPD_parameter 0.5: {Path(tmp_path / '1')}" in said
    assert f"--PPD_parameter 5.0: {Path(tmp_path / '0')}" in said


def test_one_run_twice(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "0", score(900.0))
    write_run(tmp_path / "again", score(901.0))  # other figures: it is no copy
    assert "Give only one of them" in failure(monkeypatch, capsys, tmp_path)


def test_teachers_of_other_seeds_are_no_other_experiment(tmp_path):
    write_run(tmp_path / "a", score(500.0, 1000.0), teacher="a")
    write_run(tmp_path / "b", score(1000.0, 500.0), teacher="b")
    (row,) = table_of(tmp_path, 1).rows
    ppd = row["ppd"]
    assert isinstance(ppd, Estimate) and ppd.value == pytest.approx(1.0)


def test_a_teacher_below_zero_needs_a_blind_student(tmp_path):
    write_run(tmp_path / "0", score(-30.0, -24.0), task="Pusher")
    with pytest.raises(UserError, match="no blind_return"):
        table_of(tmp_path, 1)
