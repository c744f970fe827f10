"""Atari and Procgen from the commands: a teacher is trained, and distilled."""

import json

import pytest

from Distillation.suite_run import main_suite as distil
from Enviroment import envpool_games, seeds
from Enviroment.make import make_env
from Models.student_bundle import load_student
from Models.teacher import Teacher
from Train_Teacher.suite_train import main_suite as train_teacher

pytest.importorskip("envpool", reason="needs the extra 'suites'")
pytest.importorskip("PyQt5", reason="needs the extra 'suites'")


@pytest.mark.slow  # half a minute: a teacher and its student, from the commands
@pytest.mark.parametrize(("suite", "name"), [("atari", "Pong"), ("procgen", "Jumper")])
def test_a_teacher_is_trained_and_distilled(suite, name, monkeypatch, tmp_path):
    monkeypatch.setattr(envpool_games, "ATARI_TIME_LIMIT", 40)
    monkeypatch.chdir(tmp_path)
    small = "--num_envs 2 --batch_size 64 --wandb disabled"
    train_teacher(
        suite,
        f"--env {name} --output teacher --total_timesteps 256 --n_steps 64 --n_epochs 1 {small} "
        "--eval_every 128 --eval_episodes 2 --baseline_episodes 3".split(),
    )
    teacher = Teacher.load(tmp_path / "teacher" / "teacher")
    assert teacher.description.task == name
    assert set(teacher.description.baselines) == {"teacher", "random"}
    assert (tmp_path / "teacher" / "curves.png").is_file()
    distil(
        suite,
        f"--env {name} --PPD --size smaller --teacher teacher/teacher --output student {small} "
        "--threads 1 "
        "--total_timesteps 256 --num_steps 64 --num_epochs 1 --eval_every 128 "
        "--eval_episodes 2 --final_episodes 3".split(),
    )
    figures = json.loads((tmp_path / "student" / "evaluation.json").read_text())
    assert figures["episodes"] == 3
    assert suite == "procgen" or figures["length"] == 40
    student = load_student(tmp_path / "student" / "student")
    env = make_env(name, 1, seeds.EVALUATION.start)
    actions, _ = student.predict(env.reset(), deterministic=True)
    env.close()
    assert env.action_space.contains(actions[0])
