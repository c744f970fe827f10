"""Short real runs with several cameras, colour and depth, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from Algorithm.on_policy.loop import OnPolicyStudent
from Distillation.command import main
from Enviroment.cameras import CameraSet, DepthRange, ModelCamera
from Enviroment.dataset.reader import TeacherDataset
from Evaluation.evaluate.subject import open_subject
from Evaluation.export.student_file import describe
from Evaluation.saliency.show import saliency
from Models.bundle import read_bundle
from Models.networks.per_camera import PerCamera
from Models.student.deployed import Deployed
from tests.support.environments.arm_env import ACTIONS, STATE, arm_task
from tests.support.refusal import refusal
from tests.support.short_run import SHORT, failure, outcome, write_teacher

FRAMES = (
    *("--camera", "top,wrist", "--rgb", "--depth", "--depth_range", "0.1:2.5"),
    *("--stack", "2", "--frame_interval", "3"),
)
WANTED = CameraSet(
    (ModelCamera("top"), ModelCamera("wrist")), True, DepthRange(0.1, 2.5), 2, 3, (16, 16)
)


def run_arm(tmp_path: Path, *flags: str) -> Path:
    teacher = tmp_path / "teacher"
    if not teacher.exists():
        write_teacher(teacher, state_dim=STATE, action_dim=ACTIONS, bound=1.0, task="Arm")
    folder = tmp_path / "run"
    given = ("--teacher", str(teacher), "--output", str(folder), "--wandb", "disabled")
    main(arm_task(), [*given, *flags])
    return folder


def test_ppd_with_two_cameras_colour_and_depth(tmp_path: Path) -> None:
    """The bundle alone says what the student sees, and gives each camera its encoder."""
    flags = ("--mode", "ImpaalaSmall", *SHORT, *FRAMES, "--camera_encoders", "separate")
    folder = run_arm(tmp_path, "--PPD", *flags)
    subject = open_subject(folder / "student")
    assert subject.task.camera_set == WANTED
    assert isinstance(subject.student.encoder, PerCamera)
    assert subject.student.config.camera_channels == (4, 4)
    with contextlib.closing(subject.make_env(1)) as env:
        obs = env.reset()
    assert obs["frame"].shape == (1, 2 * 8, 16, 16)  # pyright: ignore
    seen = {group: obs[group] for group in subject.groups}  # pyright: ignore
    assert saliency(subject.student, seen, subject.task).shape == (1, 16, 4 * 16)
    action, _ = subject.student.predict(obs, deterministic=True)  # pyright: ignore
    portable = Deployed.portable(subject.student)
    tensors = [torch.as_tensor(seen[group]) for group in portable.groups]
    assert np.allclose(portable(*tensors).numpy(), action, atol=0.02)  # of a range of 2
    about = describe(subject, "onnx")
    assert about["camera"] == '[{"name": "top"}, {"name": "wrist"}]'
    assert about["depth_range"] == "[0.1, 2.5]"
    assert about["frame_channels"] == "8"
    assert about["frame_order"].startswith('["top red", "top green", "top blue", "top depth", "w')
    assert about["camera_encoders"] == "separate"


def test_datasets_and_cloning_with_two_cameras_colour_and_depth(tmp_path: Path) -> None:
    data = tmp_path / "data"
    kind = FRAMES[:6]  # stacks are built on reading
    teacher = tmp_path / "teacher"
    write_teacher(teacher, state_dim=STATE, action_dim=ACTIONS, bound=1.0, task="Arm")
    collect = ("--C_data", "--num_data", "24", "--frame_size", "16x16", "--threads", "1")
    main(arm_task(), [*collect, *kind, "--teacher", str(teacher), "--output", str(data)])
    dataset = TeacherDataset.open(data)
    assert dataset.task.cameras == WANTED.cameras
    assert dataset.task.depth == WANTED.depth
    assert dataset.read(np.arange(2), ["frame"])["frame"].shape == (2, 4 * 8, 16, 16)
    rounds = ("--rounds", "1", "--round_env_steps", "12", "--round_gradient_steps", "2")
    few = ("--optimization_steps", "2", "--batch_size", "4", "--num_envs", "2", *rounds)
    short = ("--eval_episodes", "2", "--final_episodes", "2", "--threads", "1", "--no_video")
    folder = run_arm(
        tmp_path,
        *("--Dagger_phase", "--mode", "ImpaalaSmall", "--dataset", str(data), *few, *short),
        *(*FRAMES, "--frame_size", "16x16", "--device", "cpu"),
    )
    assert open_subject(folder).task.camera_set == WANTED
    assert read_bundle(folder / "student", "student")[1]["config"].get("camera_channels") is None


def test_a_stopped_run_with_several_cameras_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its second rollout, with frames of the first in the stacks of both cameras."""
    flags = ("--PPD", "--mode", "ImpaalaSmall", *SHORT, *FRAMES, "--camera_encoders", "separate")
    whole = outcome(run_arm(tmp_path, *flags))
    (tmp_path / "run").rename(tmp_path / "whole")
    train, calls = OnPolicyStudent.train, itertools.count(1)

    def train_and_stop(model: OnPolicyStudent) -> None:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        train(model)

    with monkeypatch.context() as patch:
        patch.setattr(OnPolicyStudent, "train", train_and_stop)
        with pytest.raises(SystemExit) as exit_:
            run_arm(tmp_path, *flags)
    assert exit_.value.code == 143
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert outcome(run_arm(tmp_path, *flags, "--resume")) == whole


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--camera", "tops"), "Its cameras: top, side, wrist"),
        (("--camera", "top,top"), "--camera: top is given twice"),
        (("--camera", "top", "--camera_encoders", "separate"), "several cameras"),
        (("--camera", "top", "--depth_range", "1:2"), "without --depth"),
        (("--camera", "top", "--depth", "--depth_range", "2:1"), "--depth_range 2:1"),
        (("--camera", "top", "--stack", "0"), "--stack 0"),
        (("--camera", "top", "--frame_interval", "-1"), "--frame_interval -1"),
        (("--depth",), "no camera"),
    ],
)
def test_wrong_frames_are_refused(
    flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--PPD", "--mode", "ImpaalaSmall", *SHORT, "--output", str(tmp_path / "run"))
    assert message in refusal(capsys, lambda: main(arm_task(), [*run, *flags]))
    assert not (tmp_path / "run").exists()


def test_frames_are_refused_for_students_of_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    error = failure(capsys, "--PPD", "--mode", "State", "--rgb", "--camera", "track")
    assert "--camera, --rgb: only for frames" in error
    assert "--stack" in failure(capsys, "--C_data", "--stack", "2")
