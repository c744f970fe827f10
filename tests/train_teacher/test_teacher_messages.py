"""What the training of a teacher prints about itself."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from stable_baselines3 import PPO

from Common.commands.wording import typed_command
from Common.places import ROOT
from Common.runs.files import read_metrics
from Enviroment.tasks import TASKS
from tests.docs.documented_flags import complaint
from tests.support.environments.fake_env import FakeVecEnv
from Train_Teacher.callbacks import gradient_steps
from Train_Teacher.command import main, parse
from Train_Teacher.messages import next_commands

QUICK = (
    *("--algo", "ppo", "--num_envs", "2", "--n_steps", "50", "--batch_size", "50"),
    *("--total_timesteps", "200", "--eval_every", "100", "--eval_episodes", "2"),
    *("--baseline_episodes", "2", "--no_video", "--wandb", "disabled", "--overwrite"),
)


def test_a_training_says_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    main("Reacher", [*QUICK, "--output", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    assert printed.splitlines()[:5] == [
        "Reacher  a teacher of the state by PPO",
        "budget   200 env steps in 2 environments; an evaluation every 100",
        "device   cpu, float32, 1 thread",
        f"folder   {tmp_path / 'run'}",
        "W&B      disabled",
    ]
    evaluations = [line for line in printed.splitlines() if line.startswith("eval ")]
    points = [p for p in read_metrics(tmp_path / "run") if "eval/return" in p]
    assert [line.split(":")[0] for line in evaluations] == ["eval 0", "eval 100", "eval 200"]
    for line, point in zip(evaluations, points, strict=True):
        assert f": return {point['eval/return']:.1f}, success" in line
        # 10 epochs of two minibatches per rollout of 100 steps.
        assert point["time/gradient_steps"] == 20 * point["step"] // 100
        assert point["time/env_steps"] == point["step"]
    commands = printed.split("next:\n")[1].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        program, *words = shlex.split(command)
        assert Path(program).name.startswith("python")
        assert complaint(["python", *words]) == ""


def test_the_longer_training_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for total in (("--total_timesteps", "1000"), ("--total-timesteps=1000",)):
        flags = ["--algo", "sac", *total, "--learning_starts", "100", "--overwrite"]
        run = parse("Reacher", flags)
        command = ["python", "Train_Teacher/Reacher.py", *flags]
        *_, longer = next_commands(TASKS["Reacher"], run, ROOT / "A", command)
        expected = ("python", "Train_Teacher/Reacher.py", "--algo", "sac", "--learning_starts")
        expected += ("100", "--resume", "--total_timesteps", "2000")
        assert longer == typed_command(expected)


@pytest.mark.parametrize(("batch_size", "expected"), [(8, 3), (4, 6)])
def test_gradient_steps_of_ppo_are_minibatches(batch_size: int, expected: int) -> None:
    model = PPO(
        "MlpPolicy", FakeVecEnv(2, grouped=False), n_steps=4, batch_size=batch_size, n_epochs=3
    )
    model.learn(8)
    assert gradient_steps(model) == expected
