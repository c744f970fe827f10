"""Train_Teacher/Custom.py: arguments, wrappers and time limit of an own environment."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Enviroment import seeds
from Enviroment.custom import custom_task
from Enviroment.env_settings import env_settings_words, parse_env_kwargs
from Models.teacher.policy import Teacher
from tests.docs.documented_flags import complaint
from tests.support.environments import own_envs
from tests.support.environments.own_envs import Line
from tests.support.refusal import refusal
from Train_Teacher.custom_train import main_custom
from Train_Teacher.messages import blind_advice

HALF = "tests.support.environments.own_envs:Half"
_ENV = (
    *("--env_id", "Line-v0", "--env_kwargs", "actions=box", "scale=3.0", "--wrapper", HALF),
    *("--max_episode_steps", "4", "--env_kwargs", "sizes=[1, 2]"),
)
_SHORT = (
    *("--algo", "ppo", "--num_envs", "2", "--n_steps", "8", "--batch_size", "8", "--n_epochs", "1"),
    *("--net_arch", "8", "--total_timesteps", "16", "--eval_every", "16", "--eval_episodes", "2"),
    *("--baseline_episodes", "3", "--wandb", "disabled", "--device", "cpu", "--no_video"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    own_envs.register()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    own_envs.unregister()


def idle_return(seed: int) -> float:
    """Four steps at place 5, three times the reward, halved by the wrapper."""
    env = Line()
    env.reset(seed=seed)
    return 4 * 3.0 / 2 * -abs(5 - env.mark) / 48


def test_the_teacher_is_trained_and_measured_in_that_environment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main_custom([*_ENV, *_SHORT, "--output", "run"])
    nothing = Teacher.load("run/teacher").description.baselines["nothing"]["evaluation"]
    first = seeds.EVALUATION.start
    np.testing.assert_allclose(nothing, [idle_return(first + k) for k in range(3)], rtol=1e-5)
    assert json.loads(Path("run/config.json").read_text())["config"]["run"]["algo"] == "ppo"
    said = capsys.readouterr().out
    own = "--env_kwargs actions=box scale=3.0 'sizes=[1, 2]' --max_episode_steps 4"
    distils = [line for line in said.splitlines() if "Distillation/Custom.py" in line]
    assert len(distils) == 2  # the student, and the blind one
    for line in distils:
        assert f"--env_id Line-v0 {own} --wrapper {HALF} --teacher run/teacher" in line
        assert "--camera" not in line  # the environment draws itself
        assert complaint(["python", "Distillation/Custom.py", *shlex.split(line)[2:]]) == ""
    (measure,) = (line for line in said.splitlines() if "Evaluation.blind" in line)
    assert measure.endswith(f"--teacher run/teacher --env_id Line-v0 --wrapper {HALF}")


def test_a_model_of_mujoco_needs_a_camera_as_typed_or_to_be_chosen() -> None:
    for typed, shown in (((), "CAMERA"), (("--camera", "torso"), "torso")):
        task = custom_task("Walker2d-v5", typed[1] if typed else None)
        command = ("python", "Train_Teacher/Custom.py", "--env_id", "Walker2d-v5", *typed)
        said = blind_advice(task, Path("T"), command)
        assert f" --camera {shown} " in said
        assert said.endswith("give --proprio to this student and to all others, the same.")


VALUES = {
    "number": -1.5,
    "flag": False,
    "nothing": None,
    "word": "left",
    "number_like": "1",
    "nested": {"a": [1, "b"]},
    "empty": "",
    "spaced": " x ",
    "listed": "[1",
}


def test_flags_of_a_task_are_read_as_its_settings() -> None:
    words = env_settings_words(
        custom_task("Line-v0", env_kwargs={"sizes": [1]}, max_episode_steps=3, wrappers=[HALF])
    )
    assert words == ["--env_kwargs", "sizes=[1]", "--max_episode_steps", "3", "--wrapper", HALF]
    assert env_settings_words(custom_task("Line-v0")) == []

    task: Any = dataclasses.replace(custom_task("Line-v0"), env_kwargs=VALUES)
    assert parse_env_kwargs(env_settings_words(task)[1:]) == VALUES


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--env_kwargs", "scael=2"), ("--env_kwargs scael", "scale")),
        (("--env_kwargs", "scale"), ("--env_kwargs 'scale'", "NAME=VALUE")),
        (("--wrapper", "Half"), ("--wrapper 'Half'", "package:Class")),
        (
            ("--wrapper", "tests.support.environments.own_envs:Hal"),
            ("--wrapper", "Did you mean Half"),
        ),
        (("--max_episode_steps", "0"), ("--max_episode_steps 0", "at least 1")),
        (("--max_episode_steps", "four"), ("--max_episode_steps", "four")),
        (("--env_kwargs", "observations=picture"), ("observes pictures", "Models.teacher convert")),
    ],
)
def test_bad_settings_are_one_message(
    flags: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = refusal(capsys, lambda: main_custom(["--env_id", "Line-v0", *flags, *_SHORT]))
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("actions", "words"), [("unbounded", "have no bounds"), ("from_one", "start at 1")]
)
def test_actions_of_no_policy_are_refused_before_the_folder_is_written(
    actions: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--env_id", "Line-v0", "--env_kwargs", f"actions={actions}", *_SHORT]
    folder = tmp_path / "teacher"
    text = refusal(capsys, lambda: main_custom([*flags, "--output", str(folder)]))
    assert words in text
    assert not (folder / "config.json").exists()
