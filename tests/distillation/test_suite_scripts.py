"""The scripts of whole suites: `--env`, the default teacher, and short real runs by size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import Distillation
import Train_Teacher
from Common.errors import UserError
from Distillation.command import main_suite
from Enviroment.suites.choice import choose_task
from Enviroment.tasks import TASKS
from Models.student.bundle import load_student
from Models.teacher import shipped
from Models.teacher.policy import Teacher, save_teacher
from tests.support.tiny_teacher import tiny_teacher
from Train_Teacher.command import main_suite as train_suite

FOLDERS = [Path(str(package.__file__)).parent for package in (Distillation, Train_Teacher)]
SUITES = {"mujoco": "MuJoCo", "hopper": "Hopper", "atari": "Atari", "procgen": "Procgen"}
SHORT = (
    *("--total_timesteps", "24", "--num_envs", "2", "--num_steps", "4"),
    *("--eval_episodes", "2", "--final_episodes", "2", "--threads", "1"),
    *("--device", "cpu", "--no_video", "--wandb", "disabled"),
)


def write_teacher(folder: Path, task: str = "Hopper") -> Path:
    returns = {"validation": [40.0] * 100, "evaluation": [40.0] * 100}
    teacher = tiny_teacher("gaussian", 11, 3, 1.0, task, {"teacher": returns})
    save_teacher(folder, teacher.state_dict(), teacher.description, {})
    return folder


@pytest.mark.parametrize("suite", SUITES)
def test_names_are_found_in_any_case_and_by_gymnasiums_id(suite: str) -> None:
    for task in TASKS.values():
        if task.suite == suite:
            for name in (task.name, task.name.lower(), task.name.upper(), task.env_id):
                given = ["--PPD", f"--env={name}", "--lambda", "2"]
                chosen, rest = choose_task("Distillation", suite, given)  # pyright: ignore[reportArgumentType]
                assert chosen is task
                assert rest == ["--PPD", "--lambda", "2"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "python Distillation/MuJoCo.py needs --env, one of Ant, HalfCheetah, Hopper"),
        (("--env",), "needs one of Ant"),
        (("--env", "Hoper"), "no environment 'Hoper'. Did you mean Hopper"),
        (("--env", "Pong"), "The MuJoCo suite has no environment 'Pong'"),
    ],
)
def test_an_unknown_environment_lists_the_nearest(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as error:
        choose_task("Distillation", "mujoco", flags)
    assert message in str(error.value)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_suite_has_its_script(folder: Path) -> None:
    for suite, script in SUITES.items():
        if folder.name == "Train_Teacher" and suite == "hopper":
            continue  # the domain study's own script
        assert f'main_suite("{suite}")' in (folder / f"{script}.py").read_text()


def test_help_without_an_environment_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main_suite("mujoco", ["--help"])
    assert ended.value.code == 0
    assert "ENV is one of Ant, HalfCheetah, Hopper" in capsys.readouterr().out


def test_a_script_refuses_bad_input() -> None:
    refused = subprocess.run(
        [sys.executable, str(FOLDERS[0] / "MuJoCo.py"), "--env", "Walker", "--PPD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "Did you mean Walker2d" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("task", "script"),
    [
        ("Hopper", "MuJoCo.py --env Hopper"),
        ("CustomHopper-target", "Hopper.py --env CustomHopper-target"),
        ("Pong", "Atari.py --env Pong"),
        ("Pusher", "Pusher.py"),
    ],
)
def test_tasks_know_their_script(task: str, script: str) -> None:
    assert TASKS[task].script == script


def test_the_default_teacher_is_ppo_else_sac(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHIPPED", "RESULTS"):
        monkeypatch.setattr(shipped, name, tmp_path / "Results")
    with pytest.raises(UserError) as error:
        shipped.default_teacher("Hopper")
    assert "python Train_Teacher/MuJoCo.py --env Hopper --algo ppo" in str(error.value)
    assert "`teacher` Results/Hopper/Teacher/PPO_0/teacher" in str(error.value)
    teachers = tmp_path / "Results" / "Hopper" / "teachers"
    for algo in ("source_ppo", "sac", "ppo"):
        (teachers / algo).mkdir(parents=True)
        if algo != "source_ppo":
            assert shipped.default_teacher("Hopper") == teachers / algo
    assert [path.name for path in shipped.shipped_teachers("Hopper")] == [
        "ppo",
        "sac",
        "source_ppo",
    ]


# -- runs -----------------------------------------------------------------------------------------


def test_a_teacher_is_trained_and_taught_from(tmp_path: Path) -> None:
    """Train_Teacher's bundle, then Distillation's default settings but for the budget."""
    train_suite(
        "hopper",
        [
            *("--env", "customhopper-source", "--total_timesteps", "24", "--num_envs", "2"),
            *("--n_steps", "6", "--batch_size", "12", "--eval_episodes", "2"),
            *("--baseline_episodes", "2", "--output", str(tmp_path / "teacher"), "--no_video"),
            *("--wandb", "disabled"),
        ],
    )
    bundle = tmp_path / "teacher" / "teacher"
    assert Teacher.load(bundle).description.task == "CustomHopper-source"
    given = ["--PPD", "--size", "smaller", "--teacher", str(bundle), *SHORT]
    main_suite(
        "hopper", ["--env", "CustomHopper-source", *given, "--output", str(tmp_path / "run")]
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    start = "python Distillation/Hopper.py --env CustomHopper-source --PPD --size smaller"
    assert config["command"].startswith(start)
    student = load_student(tmp_path / "run" / "student")
    assert [layer.out_features for layer in student.actor if hasattr(layer, "out_features")] == [
        *(128, 128),
        3,
    ]
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert figures["ratio"] == pytest.approx(figures["return"] / figures["teacher_return"])


@pytest.mark.parametrize(
    ("method", "size", "units"),
    [("--PPD", "smaller", [128, 64]), ("--Sdistillation", "same", [256, 256])],
)
def test_sizes_are_the_papers(tmp_path: Path, method: str, size: str, units: list[int]) -> None:
    teacher = write_teacher(tmp_path / "teacher")
    where = ["--teacher", str(teacher), "--output", str(tmp_path / "run")]
    main_suite("mujoco", ["--env", "Hopper", method, "--size", size, *where, *SHORT])
    student = load_student(tmp_path / "run" / "student")
    layers = [layer.out_features for layer in student.actor if hasattr(layer, "out_features")]
    assert layers[:-1] == units
    assert list(student.all_groups().spaces) == ["state"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert config["student"]["size"] == size
    assert config["training"]["gamma"] == 0.995


def test_a_pixel_student_of_the_suite(tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher")
    where = ["--teacher", str(teacher), "--output", str(tmp_path / "run")]
    flags = ["--PPD", "--mode", "ImpaalaSmall", "--frame_size", "16x16", *where, *SHORT]
    main_suite("mujoco", ["--env", "Hopper", *flags])
    groups = load_student(tmp_path / "run" / "student").all_groups()
    assert {name: space.shape for name, space in groups.spaces.items()} == {
        "frame": (4, 16, 16),
        "proprio": (6,),
    }
