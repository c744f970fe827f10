"""The pictures and tables of the Hopper study: arithmetic by hand, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.refusal import refusal
from tests.support.run_folders import write_run
from Train_Teacher.study import domains as hopper_domains
from Train_Teacher.study import students as hopper_students
from Train_Teacher.study.command import main
from Train_Teacher.study.domains import FinishedTraining, Study, Transfer
from Train_Teacher.study.pictures import draw_study, draw_training_returns


def refused(capsys, *arguments):
    return refusal(capsys, lambda: main(list(arguments)))


def write_learning(folder, returns, key="rollout/ep_rew_mean"):
    folder.mkdir(parents=True)
    points = [
        {"step": 1000 * (i + 1), key: value, "time/episodes": 10 * (i + 1)}
        | {"time/training_seconds": 2.0 * (i + 1)}
        for i, value in enumerate(returns)
    ]
    points.append({"step": 3500, "eval/return": 0.0})  # an evaluation
    (folder / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
    return folder


@pytest.fixture
def study(tmp_path):
    trainings = [
        FinishedTraining(
            algo, "source", seed, write_learning(tmp_path / f"{algo}{seed}", returns, key)
        )
        for algo, key in (("ppo", "rollout/ep_rew_mean"), ("reinforce", "rollout/ep_return"))
        for seed, returns in enumerate(([10, 20, 40], [20, 40, 60]))
    ]
    transfers = [
        Transfer(algo, name, returns)
        for algo in ("ppo", "reinforce")
        for name, returns in (("source -> target", (100.0, 300.0)), ("target -> target", (5.0,)))
    ]
    return Study(trainings, transfers, 200, {"ppo": 3000, "reinforce": 3000})


def test_seconds_an_episode_and_a_step(study):
    # 6 s of 30 episodes and 3000 steps.
    assert study.seconds_per_episode("ppo") == pytest.approx(0.2)
    assert study.milliseconds_per_step("ppo") == pytest.approx(2.0)


def test_curves_over_steps_and_over_episodes(study):
    by_step, by_episode = (study.trainings[2].curve(x) for x in ("step", "time/episodes"))
    np.testing.assert_array_equal(by_step.x, [1000, 2000, 3000])
    np.testing.assert_array_equal(by_episode.x, [10, 20, 30])
    np.testing.assert_array_equal(by_step.y, [10, 20, 40])
    (axes, _) = draw_training_returns(study, ["ppo"], log=False).axes
    mean = axes.get_lines()[-1]
    np.testing.assert_array_equal(mean.get_ydata(), [15, 30, 50])


def test_the_table_has_means_over_seeds_and_the_papers_seconds(study):
    text = hopper_domains.table(study)
    assert "| source -> target | 200.0 (100.0 to 300.0) | 200.0 (100.0 to 300.0) |" in text
    assert "| target -> target | 5.0 | 5.0 |" in text
    assert "| seconds per episode | 2.0e-01 | 2.0e-01 |" in text
    assert "| seconds per episode, paper | 1.2e-03 | 5.4e-02 |" in text


def test_every_figure_is_a_picture(study, tmp_path):
    for path in draw_study(study, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")


# -- students --------------------------------------------------------------------------------------


def write_student(folder, value, *, method="PPD", size="same", weight=1.0, index=0, **more):
    figures = {"return": value, "teacher_return": 3000.0, "episodes": 50}
    run = write_run(
        folder,
        more.pop("figures", figures),
        task="CustomHopper-source",
        method=method,
        size=size,
        run_index=index,
        training={
            "PPD_parameter": weight,
            "lambda_schedule": "constant",
            **more.pop("settings", {}),
        },
        **more,
    )
    points = [
        {"step": i * 500, "time/env_steps": i * 500, "eval/od_return": value * i / 2}
        | {"eval/teacher_return": 3000.0}
        for i in range(3)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
    return run


@pytest.fixture
def students(tmp_path):
    folder = tmp_path / "runs"
    for size, value in (("smaller", 2700.0), ("same", 2850.0), ("larger", 3000.0)):
        for index in range(2):
            write_student(folder / f"{size}{index}", value + 60 * index, size=size, index=index)
        write_student(folder / f"ppo_{size}", value / 2, size=size, method="PPO")
    for weight in (0.5, 5.0):
        write_student(folder / f"lambda{weight}", 1500.0, size="same", weight=weight)
    return folder


def test_students_table_by_hand(students, tmp_path, capsys):
    main(["--students", str(students), "--output", str(tmp_path / "out")])
    text = (tmp_path / "out" / "students.md").read_text()
    assert "| teacher |  |  |  | 3000.0 | 1 | 3399.5 |" in text
    # (2700 + 2760) / 2 = 2730, over 3000 0.91
    smaller = "| PPD, smaller | 1 | 2 | 1,000 | 2730.0 (2700.0 to 2760.0) | 0.910 (0.900 to 0.920) "
    assert smaller + "| 3374.6 |" in text
    assert "| PPO, larger |  | 1 | 1,000 | 1500.0 | 0.500 |  |" in text
    assert "| PPD, same | 5 | 1 | 1,000 | 1500.0 | 0.500 |\n" in text
    assert text.count("PPD, same") == 1 + 3  # of lambda 1, and each lambda
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("students.json", "students.md", "figure4_sizes.png"),
        *("figure5_test_return.png", "figure6_lambda_same.png"),
    }


def test_what_is_left_out_is_said(students, tmp_path, capsys):
    write_student(students / "cut", 1.0, figures=None, index=5)
    write_student(students / "sd", 1.0, method="Sdistillation")
    for weight in ("0.5", "5.0"):
        for path in (students / f"lambda{weight}").iterdir():
            path.unlink()
    main(["--students", str(students), "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert "cut was cut short" in error
    assert "sd is by Sdistillation" in error
    assert "figure 6 is left out" in error
    assert not list((tmp_path / "out").glob("figure6*"))


def test_students_that_cannot_be_compared_are_refused(students, tmp_path, capsys):
    output = ("--output", str(tmp_path / "out"))
    message = refused(capsys, "--students", str(students), *output, "--distill_lambda", "2")
    assert "there are 0.5, 1, 5" in message
    write_student(students / "other", 1.0, size="same", index=3, teacher="b")
    assert "several teachers" in refused(capsys, "--students", str(students), *output)
    assert not (tmp_path / "out").exists()


def test_runs_that_differ_by_more_than_seeds_are_not_averaged(tmp_path, capsys):
    folder = tmp_path / "runs"
    write_student(folder / "a", 1.0, index=0)
    write_student(folder / "b", 1.0, index=1, mode="ImpaalaMid")
    message = refused(capsys, "--students", str(folder), "--output", str(tmp_path / "out"))
    assert "differ by mode" in message


def test_sizes_of_different_budgets_do_not_share_a_figure(tmp_path, capsys):
    folder = tmp_path / "runs"
    write_student(folder / "a", 1.0, size="same", settings={"total_timesteps": 500})
    write_student(folder / "b", 1.0, size="larger", settings={"total_timesteps": 900})
    message = refused(capsys, "--students", str(folder), "--output", str(tmp_path / "out"))
    assert "differ by total_timesteps" in message
    assert hopper_students.PAPER["teacher"] == 3399.49
