"""Short runs on a user's own environments: from an agent's zip to a student, and its tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env

from Distillation.custom_run import main_custom
from Enviroment.dataset.reader import TeacherDataset
from Evaluation.evaluate.subject import open_subject
from Evaluation.video import record_video
from Models.teacher.__main__ import main
from tests.enviroment.suites.test_custom import SHORT
from tests.support.environments import own_envs
from tests.support.environments.own_envs import HEIGHT, LENGTH, WIDTH
from tests.support.refusal import refusal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    own_envs.register()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    own_envs.unregister()


def convert(observations: str, actions: str, policy: str) -> tuple[str, ...]:
    """Train an agent for a few steps, convert it, and return the flags of its environment."""
    kwargs = {"observations": observations, "actions": actions}
    env = make_vec_env("Line-v0", 1, env_kwargs=kwargs)
    A2C(policy, env, n_steps=4, seed=1, device="cpu").learn(8).save("agent.zip")
    typed = ("--env_kwargs", *(f"{name}={value}" for name, value in kwargs.items()))
    main(["convert", "agent.zip", "--task", "Line-v0", "--output", "teacher", *typed])
    return ("--env_id", "Line-v0", *typed)


def test_a_student_of_rendered_frames_and_named_proprioception(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = convert("groups", "switches", "MultiInputPolicy")
    more = ("--wrapper", "tests.support.environments.own_envs:Half", "--max_episode_steps", "5")
    method = ("--PPD", "--mode", "ImpaalaSmall", "--frame_size", "16x16", "--proprio", "joints")
    run = ("--teacher", "teacher", "--output", "run", *SHORT)
    main_custom([*env, *more, *method, *run])
    said = capsys.readouterr()
    assert "are env.render(), 36x48 resized to 16x16: " in said.out + said.err
    figures = json.loads(Path("run/evaluation.json").read_text())
    assert figures["length"] == 5.0
    subject = open_subject("run")  # from the folder alone: the wrapper's package is imported
    assert subject.task.wrappers == ("tests.support.environments.own_envs:Half",)
    assert list(subject.groups) == ["frame", "proprio"]
    subject.make_env(1).close()
    Path("run/checkpoints/finished").unlink()  # as if the report had been cut short
    with pytest.warns(
        UserWarning, match=r"is not a MuJoCo environment\. The run therefore"
    ) as told:
        main_custom([*env, *more, *method, *run, "--resume"])
    assert len(told) == 1
    assert json.loads(Path("run/evaluation.json").read_text()) == figures


def test_a_student_of_an_environment_of_pictures() -> None:
    env = convert("picture", "discrete", "CnnPolicy")
    budget = ("--optimization_steps", "2", "--batch_size", "4", "--eval_episodes", "2")
    quiet = ("--final_episodes", "2", "--threads", "1", "--device", "cpu", "--wandb", "disabled")
    main_custom([*env, "--C_data", "--num_data", "12", "--teacher", "teacher", "--output", "data"])
    with_steps = TeacherDataset.open("data")
    frames = with_steps.read(np.arange(12))["frame"]
    assert frames.shape == (12, 3, HEIGHT, WIDTH)
    assert len(with_steps) == 2 * LENGTH
    method = ("--BC_phase", "--dataset", "data", *budget, *quiet, "--no_video")
    main_custom([*env, *method, "--teacher", "teacher", "--output", "run"])
    subject = open_subject("run")
    assert subject.student.observation_space["frame"].shape == (3, HEIGHT, WIDTH)  # pyright: ignore
    env_ = subject.make_env(1)
    video = record_video(subject.act(), env_, subject.task, "video.mp4", 7, height=72)
    env_.close()
    assert video.path is not None
    assert video.length == LENGTH


def test_a_video_has_the_shape_of_the_rendered_pictures() -> None:
    env = convert("vector", "choices", "MlpPolicy")
    method = ("--PPD", "--mode", "ImpaalaSmall", "--frame_size", "16x16")
    short = [word for word in SHORT if word != "--no_video"]
    main_custom([*env, *method, "--teacher", "teacher", "--output", "run", *short])
    video = cv2.VideoCapture("run/videos/student.mp4")
    height, width = (video.get(p) for p in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    assert width / height == pytest.approx(WIDTH / HEIGHT, abs=0.01)


def test_the_look_of_rendered_frames(capsys: pytest.CaptureFixture[str]) -> None:
    main_custom(["--env_id", "Line-v0", "--look", "look.png", "--frame_size", "18x24"])
    assert "differ from those of a second environment" in (said := capsys.readouterr().out)
    assert "by 0.0 of 255" in said
    picture = cv2.imread("look.png")
    assert picture is not None
    assert picture.shape == (480, 4 * 640, 3)  # 36 x 48 enlarged to 480 high
    kwargs = ("--env_kwargs", "observations=picture")
    main_custom(["--env_id", "Line-v0", *kwargs, "--look", "look.png"])
    assert "above env.render(), below the observation" in capsys.readouterr().out
    picture = cv2.imread("look.png")
    assert picture is not None
    assert picture.shape == (2 * 480, 4 * 640, 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--env_kwargs", "scael=2"), "does not take one of --env_kwargs scael"),
        (("--env_kwargs", "scale"), "--env_kwargs 'scale' is not NAME=VALUE"),
        (("--wrapper", "tests.support.environments.own_envs:Talk", "--PPD"), "are Text"),
        (("--wrapper", "Half"), "--wrapper 'Half' is not package:Class"),
        (("--max_episode_steps", "0"), "--max_episode_steps 0 must be at least 1"),
        (("--env_kwargs", "observations=groups", "--proprio", "joint"), "Did you mean joints"),
        (("--frames", "eye"), "--frames 'eye' is not one of"),
        (("--frames", "none", "--PPD", "--mode", "ImpaalaSmall"), "--frames env"),
        (("--env_kwargs", "observations=picture", "--PPD", "--mode", "State"), "has no state"),
    ],
)
def test_bad_input_is_one_message(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    convert_needed = "Talk" in " ".join(flags)
    run: tuple[str, ...] = ()
    if convert_needed:
        convert("vector", "discrete", "MlpPolicy")
        run = ("--teacher", "teacher")
    assert message in refusal(capsys, lambda: main_custom(["--env_id", "Line-v0", *flags, *run]))
    assert not Path("run").exists()
