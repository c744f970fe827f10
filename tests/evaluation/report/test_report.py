"""The report: what it claims, and what it shows of damaged results."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest

from Common.errors import UserError
from Enviroment import seeds
from Evaluation.metrics import METRICS
from Evaluation.report import __main__ as report_module
from Evaluation.report.__main__ import ReportFlags, write_report
from Evaluation.report.entries import find_entries
from Evaluation.report.headline import claims
from Evaluation.report.page import environment
from Evaluation.tool import run_tool
from tests.support.report.runs import (
    NASTY,
    figures,
    nasty_run,
    rows_of_folder,
    write,
    write_curve,
    write_picture,
    write_runs,
    write_video,
)
from tests.support.run_folders import write_run

# -- what is claimed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ppd", "bc", "verdict", "statement", "said"),
    [
        ((0.90, 0.92, 0.94), (0.50, 0.52, 0.54), "ahead", "PPD beats BC", "probability 1.00"),
        ((0.90, 0.50, 0.70), (0.50, 0.80, 0.65), "not decided", "PPD leads BC", "includes 0"),
        ((0.90,), (0.90,), "one run", "BC and PPD are level", "one run each"),
        ((0.90,), (0.50, 0.52, 0.54), "one run", "PPD leads BC", "There is only one run of PPD,"),
        ((0.90, 0.92), (), "no rival", "PPD reaches skill 0.910", "No other method"),
    ],
)
def test_a_claim_says_how_sure_it_is(tmp_path, ppd, bc, verdict, statement, said):
    write_runs(tmp_path, "PPD", ppd)
    write_runs(tmp_path, "BC_phase", bc)
    (claim,) = claims(rows_of_folder(tmp_path))
    assert claim.verdict == verdict
    assert claim.statement.startswith(statement)
    assert said in " ".join(claim.details)
    assert claim.where == "Small students of teacher a"


def test_methods_are_compared_with_the_same_teacher_and_size_only(tmp_path):
    write_runs(tmp_path / "a", "PPD", (0.9, 0.91), teacher="a")
    write_runs(tmp_path / "b", "BC_phase", (0.5, 0.51), teacher="b")
    write_runs(tmp_path / "c", "BC_phase", (0.4, 0.41), teacher="a", mode="ImpaalaBig")
    found = claims(rows_of_folder(tmp_path))
    assert [claim.verdict for claim in found] == ["no rival"] * 3
    # PPO has no teacher. It is compared where its skill is measured against the same one.
    write_runs(tmp_path / "d", "PPO", (0.1, 0.11), teacher=None)
    found = {claim.where: claim.statement for claim in claims(rows_of_folder(tmp_path))}
    assert found["Small students of teacher a"].startswith("PPD beats PPO: skill 0.905 against 0.1")
    for path in (tmp_path / "d").rglob("evaluation.json"):
        path.write_text(json.dumps(figures(0.1, teacher_return=-20.0)))
    assert all(c.verdict == "no rival" for c in claims(rows_of_folder(tmp_path)))


def test_several_runs_count_before_a_lucky_one_and_blind_students_not_at_all(tmp_path):
    write_runs(tmp_path / "few", "PPD", (0.99,), training={"learning_rate": 1.0})
    write_runs(tmp_path / "many", "PPD", (0.80, 0.82), training={"learning_rate": 2.0})
    write_runs(tmp_path / "bc", "BC_phase", (0.50, 0.52))
    write_runs(tmp_path / "blind", "Sdistillation", (0.95, 0.96), blind=True)
    (claim,) = claims(rows_of_folder(tmp_path))
    assert claim.statement == "PPD beats BC: skill 0.810 against 0.510."
    assert "(learning_rate 2.0)" in claim.details[0]
    assert "which favours methods" in claim.details[-1]


def test_shipped_students_of_other_methods_are_named_and_take_no_part(tmp_path):
    write_runs(tmp_path / "runs", "PPD", (0.7, 0.8))
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    described = {"task": "Pusher", "method": "Dagger_phase", "config": {"mode": "ImpaalaSmall"}}
    (shipped / "student.json").write_text(json.dumps(described))
    (shipped / "evaluation.json").write_text(json.dumps(figures(0.9)))
    (claim,) = claims(rows_of_folder(tmp_path))
    assert claim.statement.startswith("PPD reaches skill 0.750 ")
    assert claim.details[-1].endswith("selected for their results: DAgger.")


def test_a_run_on_few_episodes_is_shown_and_not_ranked(tmp_path):
    write_runs(tmp_path / "runs", "PPD", (0.7, 0.8))
    few = {"task": "Pusher", "size": None, "mode": "ImpaalaSmall"}
    write_run(tmp_path / "few" / "a", figures(0.99, episodes=1), run_index=2, **few)
    write_run(tmp_path / "few" / "b", figures(0.99, episodes=4), method="BC_phase", **few)
    first, second = rows_of_folder(tmp_path)
    assert first.values["skill"].value == pytest.approx(0.75)
    assert (len(first.finished), len(first.compared), first.over) == (3, 2, "2 runs")
    assert second.values["skill"].value == 0.99  # behind, though it is higher
    (claim,) = claims([first, second])
    assert claim.statement.startswith("PPD reaches skill 0.750 ")
    assert claim.details[-1] == "Runs with fewer than 5 evaluation episodes are excluded: BC."
    assert claim.weight == 2
    assert "1 on fewer than 5 episodes" in write(tmp_path)


def test_students_of_different_teachers_are_in_tables_of_their_own(tmp_path):
    write_runs(tmp_path / "a", "PPD", (0.7, 0.8), teacher="a")
    write_runs(tmp_path / "b", "BC_phase", (0.9,), teacher="b")
    write_runs(tmp_path / "ppo", "PPO", (0.1,), teacher=None)
    for path in (tmp_path / "b").rglob("evaluation.json"):
        path.write_text(json.dumps(figures(0.9, teacher_return=-20.0)))
    groups = {(row.group, row.name.method, row.look) for row in rows_of_folder(tmp_path)}
    # PPO's skill is measured against a's return, as PPD's is.
    assert groups == {("a", "PPD", 0), ("a", "PPO", 1), ("b", "BC", 0)}
    _, *parts = write(tmp_path).split("<section ")
    assert {
        re.findall("<h2.*?teacher (.)<", part)[0]: len(re.findall("<tr data-row", part))
        for part in parts
    } == {"a": 2, "b": 1}
    assert all(part.count('<table class="results"') == 1 for part in parts)


# -- rows ------------------------------------------------------------------------------------------


def test_a_row_has_the_mean_over_runs_and_says_what_its_interval_is_over(tmp_path):
    write_runs(tmp_path / "three", "PPD", (0.90, 0.94, 0.92))
    one = figures(0.5, skill_low=0.4, skill_high=0.6)
    write_run(tmp_path / "one", one, task="Pusher", method="BC_phase", mode="ImpaalaMid")
    first, second = rows_of_folder(tmp_path)
    value = first.values["skill"]
    assert value.value == pytest.approx(0.92)
    assert value.low is not None
    assert 0.90 <= value.low < 0.92
    assert first.over == "3 runs"
    assert (second.values["skill"].low, second.values["skill"].high) == (0.4, 0.6)
    assert second.over == "50 episodes of one run"
    assert first.values["env_steps"].value == 1000


def test_a_shipped_students_teacher_is_found_by_its_return(tmp_path):
    bundle, teacher = tmp_path / "students" / "best", tmp_path / "teachers" / "sac"
    for folder in (bundle, teacher):
        folder.mkdir(parents=True)
    described = {"task": "Pusher", "method": "PPD", "config": {"mode": "ImpaalaSmall"}}
    (bundle / "student.json").write_text(json.dumps(described | {"sha256": "5" * 64}))
    found = figures(0.9, first_seed=seeds.EVALUATION.start, episodes=2, teacher_return=-25.0)
    (bundle / "evaluation.json").write_text(json.dumps(found))
    baselines = {"teacher": {"evaluation": [-24.0, -26.0, -99.0]}}
    (teacher / "teacher.json").write_text(json.dumps({"sha256": "c" * 64, "baselines": baselines}))
    (row,) = rows_of_folder(tmp_path)
    assert row.shipped
    assert row.teacher == "sac cccccccc"
    (bundle / "evaluation.json").write_text(json.dumps(found | {"teacher_return": -24.9}))
    (row,) = rows_of_folder(tmp_path)
    assert row.teacher == "not recorded"


def test_a_run_s_own_student_is_not_a_shipped_one(tmp_path):
    write_runs(tmp_path, "PPD", (0.9,))
    for name in ("student", "checkpoints/best"):
        folder = next(tmp_path.iterdir()) / name
        folder.mkdir(parents=True)
        (folder / "student.json").write_text(json.dumps({"task": "Pusher", "sha256": "f" * 64}))
    (entry,) = find_entries([tmp_path]).entries
    assert entry.student_sha256 == "f" * 64


def test_diagnostics_are_copied_and_shown(tmp_path):
    write_runs(tmp_path / "r", "PPD", (0.9,))
    folder = next((tmp_path / "r").iterdir()) / "diagnostics"
    folder.mkdir()
    write_video(folder / "saliency.mp4")
    write_picture(folder / "saliency.png")
    write_picture(folder / "saliency_dark.png")
    measured = {"verdict": "used", "zeroed": {"skill": 0.125}, "curve": [1, 2]}
    (folder / "sight.json").write_text(json.dumps(measured))
    page = write(tmp_path / "r")
    assert '<video controls muted playsinline preload="metadata" src="media/001.mp4' in page
    assert (
        '<img loading="lazy" src="media/002.png" alt="saliency, PPD, Small: run_index 0">' in page
    )
    copies = {path.name: path.read_bytes() for path in (tmp_path / "report" / "media").iterdir()}
    originals = {
        "001.mp4": "saliency.mp4",
        "002.png": "saliency.png",
        "003.png": "saliency_dark.png",
    }
    assert page.count("<img ") == 1
    assert '<source media="screen and (prefers-color-scheme: dark)" srcset="media/003.png">' in page
    assert copies == {name: (folder / of).read_bytes() for name, of in originals.items()}
    assert "verdict: used" in page
    assert "  skill: 0.125" in page


# -- bad input -------------------------------------------------------------------------------------


def test_tasks_have_tables_of_their_own(tmp_path):
    write_runs(tmp_path / "r", "PPD", (0.9,))
    write_runs(tmp_path / "r", "PPD", (0.8,), task="Reacher")
    page = write(tmp_path / "r")
    assert page.count('<table class="results"') == 2
    assert page.index('data-task="Pusher"') < page.index('data-task="Reacher"')


def test_a_video_is_the_median_of_the_runs_that_have_one(tmp_path):
    write_runs(tmp_path / "runs", "PPD", (0.5, 0.7, 0.9))
    best = tmp_path / "runs" / "Pusher_PPD_ImpaalaSmall_2"
    write_video(best / "videos" / "student.mp4")
    assert "run_index 2, the median of the 1 run of 3 with a video" in write(tmp_path / "runs")
    for i in range(2):
        folder = tmp_path / "runs" / f"Pusher_PPD_ImpaalaSmall_{i}"
        shutil.copytree(best / "videos", folder / "videos")
    assert "run_index 1, the median of 3 runs" in write(tmp_path / "runs")


def test_a_time_that_some_runs_did_not_reach_says_how_many_did(tmp_path):
    """Otherwise the fastest of five runs would be the time of the experiment."""
    write_runs(tmp_path / "runs", "PPD", (0.9, 0.91, 0.92, None))
    for i, skills in enumerate(((0.5, 0.96), (0.5, 0.6), (0.92, 0.92), (0.96, 0.96))):
        write_curve(tmp_path / "runs" / f"Pusher_PPD_ImpaalaSmall_{i}", skills, seconds=60.0)
    (row,) = rows_of_folder(tmp_path / "runs")
    assert row.values["to_0.90"].value == row.values["to_0.95"].value - 0.5
    assert [row.n_with(METRICS[key]) for key in ("skill", "to_0.90", "to_0.95")] == [3, 2, 1]
    page = write(tmp_path / "runs")
    assert page.count("2 of 3 runs") == page.count("1 of 3 runs") == 1


def test_a_copy_of_a_run_counts_once(tmp_path, capsys):
    runs = tmp_path / "r"
    write_runs(runs, "PPD", (0.9,))
    shutil.copytree(runs / "Pusher_PPD_ImpaalaSmall_0", runs / "copy")
    page = write(runs)
    assert "copy is a copy of" in capsys.readouterr().err.replace("\n", " ")
    assert "1 experiment, 1 run; Pusher" in page


def test_what_is_damaged_is_named_and_the_rest_is_drawn(tmp_path, capsys):
    runs = tmp_path / "r"
    write_runs(runs, "PPD", (0.9, 0.92, None))
    write_runs(runs, "BC_phase", (None,))
    write_runs(runs, "PPO", (0.5, 0.6))
    (runs / "Pusher_PPO_ImpaalaSmall_0" / "evaluation.json").write_text("{")
    (runs / "Pusher_PPO_ImpaalaSmall_1" / "metrics.jsonl").write_text("no JSON\n")
    (runs / "Pusher_PPD_ImpaalaSmall_1" / "metrics.jsonl").write_bytes(b'{"step": 1\xff}\n')
    write_run(runs / "old", figures(0.3), task="Pusher", method={"algorithm": "PPD"})
    (runs / "teacher").mkdir()
    (runs / "teacher" / "config.json").write_text(json.dumps({"config": {"algo": "sac"}}))
    page = write(runs)
    said = capsys.readouterr().err
    assert "ImpaalaSmall_0/evaluation.json is not JSON" in said
    assert "PPO_ImpaalaSmall_1/metrics.jsonl, line 1, is not JSON" in said
    assert "PPD_ImpaalaSmall_1/metrics.jsonl cannot be read" in said
    assert "old was written by an older version" in said
    assert "runs/teacher" not in said
    assert '<span>2</span><span class="pill cut">1 cut short</span>' in page
    assert '<span>0</span><span class="pill cut">1 cut short</span>' in page
    assert "PPD beats" not in page  # PPO has one readable run, BC none
    assert page.count("<tr data-row") == 3


def test_a_missing_teacher_leaves_returns(tmp_path):
    for i, value in enumerate((-30.0, -31.0)):
        write_run(
            tmp_path / "r" / str(i),
            {"episodes": 5, "return": value},
            task="Pusher",
            method="PPO",
            teacher=None,
            run_index=i,
        )
    page = write(tmp_path / "r")
    assert "PPO reaches return \u221230.50" in page
    assert ">Skill<" not in page
    assert '<span class="quiet">no teacher</span></h2>' in page


def test_numbers_that_are_none_leave_gaps(tmp_path):
    write_run(tmp_path / "r" / "a", figures(math.nan, success="many"), task="Pusher")
    page = write(tmp_path / "r")
    assert ">Skill<" not in page
    assert ">Success<" not in page
    assert "\u221240" not in page  # NaN is not -40 + 14 * 0
    assert "nan" not in page.lower().rpartition("<script>")[0]


@pytest.mark.parametrize(
    ("results", "said"),
    [(("empty",), "Neither a student's run"), (("nowhere",), "nowhere is not a folder")],
)
def test_without_runs_there_is_a_message_and_no_page(tmp_path, results, said, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report", *results])
    with pytest.raises(SystemExit) as ended:
        run_tool(ReportFlags, report_module._MODULE, write_report)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_another_folder_is_not_written_over_and_an_older_report_is(tmp_path):
    write_runs(tmp_path / "r", "PPD", (0.9,))
    output = tmp_path / "report"
    output.mkdir()
    (output / "index.html").write_text("my homepage")
    with pytest.raises(UserError, match="something other than a report"):
        write(tmp_path / "r")
    assert (output / "index.html").read_text() == "my homepage"
    (output / "index.html").unlink()
    write(tmp_path / "r", title="first")
    (output / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="something other than a report"):
        write(tmp_path / "r", title="second")
    (output / "notes.txt").unlink()
    assert "<title>second</title>" in write(tmp_path / "r", title="second")
    assert sorted(path.name for path in output.iterdir()) == ["index.html"]


def test_two_reports_at_once_leave_a_whole_one(tmp_path, monkeypatch):
    write_runs(tmp_path / "r", "PPD", (0.9,))
    write(tmp_path / "r", title="old")
    render, beside = report_module.render_page, ["beside"]

    def render_beside_another(title, *more):
        if beside:
            write(tmp_path / "r", title=beside.pop())
        return render(title, *more)

    monkeypatch.setattr(report_module, "render_page", render_beside_another)
    assert "<title>last</title>" in write(tmp_path / "r", title="last")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "report"]


def test_what_is_put_into_the_folder_meanwhile_is_kept(tmp_path, monkeypatch):
    write_runs(tmp_path / "r", "PPD", (0.9,))
    notes = tmp_path / "report" / "notes.txt"

    def render_beside_a_user(*_):
        notes.parent.mkdir()
        notes.write_text("mine")
        return "page"

    monkeypatch.setattr(report_module, "render_page", render_beside_a_user)
    with pytest.raises(UserError, match="something other than a report"):
        write(tmp_path / "r")
    assert notes.read_text() == "mine"


# -- escaping --------------------------------------------------------------------------------------


def test_data_cannot_end_its_script_element():
    template = environment().from_string("{{ data|tojson }}")
    text = template.render(data={"name": NASTY + "&amp;"})
    assert "<" not in text
    assert json.loads(text)["name"] == NASTY + "&amp;"


def test_all_text_is_escaped(tmp_path):
    nasty_run(tmp_path / "r" / "<b>run")
    page = write(tmp_path / "r", title=NASTY)
    assert "<img" not in page
    assert "<b>run" not in page
    assert page.count("</script>") == 3
    assert page.count("&lt;img src=x") > 10
