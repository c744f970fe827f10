"""Atari and Procgen from the commands: a teacher is trained, and distilled."""

import json
from pathlib import Path

import pytest

from Distillation.command import main_suite as distil
from Enviroment import seeds
from Enviroment.make import make_env
from Enviroment.suites import envpool_games
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.measure import evaluate
from Models.student.bundle import load_student
from Models.teacher.policy import Teacher
from Train_Teacher.command import main_suite as train_teacher

pytest.importorskip("envpool", reason="needs the extra 'suites'")
pytest.importorskip("PyQt5", reason="needs the extra 'suites'")

SMALL = "--num_envs 2 --batch_size 64 --wandb disabled"
TINY_TEACHER = (
    f"--output teacher --total_timesteps 256 --n_steps 64 --n_epochs 1 {SMALL} "
    "--eval_every 128 --eval_episodes 2 --baseline_episodes 3"
)
TINY_STUDENT = (
    f"--size smaller --teacher teacher/teacher {SMALL} --threads 1 --total_timesteps 256 "
    "--num_steps 64 --num_epochs 1 --eval_every 128 --eval_episodes 2 --final_episodes 3"
)


@pytest.mark.slow  # half a minute: a teacher and its student, from the commands
@pytest.mark.parametrize(("suite", "name"), [("atari", "Pong"), ("procgen", "Jumper")])
def test_a_teacher_is_trained_and_distilled(suite, name, monkeypatch, tmp_path):
    monkeypatch.setattr(envpool_games, "ATARI_TIME_LIMIT", 40)
    monkeypatch.chdir(tmp_path)
    train_teacher(suite, f"--env {name} {TINY_TEACHER}".split())
    teacher = Teacher.load(tmp_path / "teacher" / "teacher")
    assert teacher.description.task == name
    assert set(teacher.description.baselines) == {"teacher", "random"}
    assert (tmp_path / "teacher" / "curves.png").is_file()
    distil(suite, f"--env {name} --PPD --output student {TINY_STUDENT}".split())
    figures = json.loads((tmp_path / "student" / "evaluation.json").read_text())
    assert figures["episodes"] == 3
    assert suite == "procgen" or figures["length"] == 40
    student = load_student(tmp_path / "student" / "student")
    env = make_env(name, 1, seeds.EVALUATION.start)
    actions, _ = student.predict(env.reset(), deterministic=True)
    env.close()
    assert env.action_space.contains(actions[0])


@pytest.mark.slow
def test_a_teacher_of_frames_is_not_asked_about_blind_ones(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    train_teacher("procgen", f"--env Jumper {TINY_TEACHER}".split())
    for name, how in (("seeing", ""), ("blind", "--blind")):
        distil("procgen", f"--env Jumper --PPO {how} --output {name} {TINY_STUDENT}".split())
    seeing, blind = (Path(name, "metrics.jsonl").read_text() for name in ("seeing", "blind"))
    assert "eval/action_accuracy" in seeing
    assert "eval/action_accuracy" not in blind
    assert "eval/od_return" in blind
    capsys.readouterr()
    evaluate(EvaluateFlags(Path("blind"), teacher=Path("teacher/teacher"), episodes=2))
    assert "here they are zeroed" in capsys.readouterr().err
