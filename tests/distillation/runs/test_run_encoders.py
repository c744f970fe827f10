"""Runs with an encoder of the user, with a frozen backbone, and with keypoints."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from Algorithm.on_policy.loop import OnPolicyStudent
from Common.errors import UserError
from Common.places import ROOT
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.measure import measure
from Evaluation.export.__main__ import ExportFlags
from Evaluation.export.student_file import export
from Evaluation.gallery.__main__ import GalleryFlags
from Evaluation.gallery.film import film_gallery
from Evaluation.look.__main__ import LookFlags
from Evaluation.look.show import show_looks
from Evaluation.saliency.__main__ import SaliencyFlags
from Evaluation.saliency.show import show_saliency
from Models.networks.encoders import OWN_ENCODERS
from Models.student import load_student
from tests.support.short_for import short_for
from tests.support.short_run import failure, outcome
from vision_distillation import Student

MODULE = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.LazyLinear(8)

    def forward(self, frames):
        b, c, h, w = frames.shape
        return self.head(self.backbone(frames.view(b * c, 1, h, w) / 255).reshape(b, -1))

class Traced(nn.Module):
    def __init__(self, shape):
        super().__init__()

    def forward(self, frames):
        return (frames / 255).view(len(frames), -1)[:, :64]

class Scalar(nn.Module):
    def __init__(self, shape):
        super().__init__()

    def forward(self, frames):
        return frames.float().mean()
"""
NAME = "own_encoders_of_a_user:Tiny"
ENCODER = ("--PPD", "--encoder", NAME)
SMALL = ("--PPD", "--mode", "ImpaalaSmall")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with the user's module, as at the start of a command."""
    (tmp_path / "own_encoders_of_a_user.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    forget()


def forget() -> None:
    """As in a new process."""
    OWN_ENCODERS.clear()
    sys.modules.pop("own_encoders_of_a_user", None)


@pytest.fixture
def weights(folder: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """A file for `--backbone` and its contents."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4))
    tensors = {**module.state_dict(), "1.running_mean": torch.randn(4)}
    safetensors.torch.save_file(tensors, folder / "backbone.safetensors")
    return "backbone.safetensors", tensors


def test_a_command_trains_it_and_tools_read_it(teacher: Path, folder: Path) -> None:
    """In processes of their own: a file of a working directory is found from there."""
    where = ("--teacher", str(teacher), "--output", "run", "--wandb", "disabled")
    script = [sys.executable, str(ROOT / "Distillation" / "Pusher.py"), *ENCODER]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def done(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    trained = done(*script, *where, *short_for(*ENCODER))
    assert trained.returncode == 0, trained.stderr
    assert f"--encoder {NAME}" in trained.stdout  # in the commands that come next
    environment["PYTHONPATH"] = str(ROOT)
    file = ("run", "--format", "torchscript", "--output", "student.pt")
    exported = done(sys.executable, "-m", "Evaluation.export", *file)
    assert exported.returncode == 2
    assert f"give --encoder {NAME}" in exported.stderr
    assert "Traceback" not in exported.stderr
    exported = done(sys.executable, "-m", "Evaluation.export", *file, "--encoder", NAME)
    assert exported.returncode == 0, exported.stderr
    assert (folder / "student.pt").exists()


@pytest.mark.usefixtures("few_timed_actions")
def test_it_is_evaluated_exported_and_shown(pusher: Callable[..., Path]) -> None:
    run = pusher(*ENCODER)
    config = json.loads((run / "config.json").read_text())["config"]["student"]
    assert config["mode"] == NAME
    assert not {"pooling", "keypoints", "backbone"} & config.keys()
    forget()
    with pytest.raises(UserError, match=f"give `encoder` {NAME}"):
        Student.load(run)
    flags = EvaluateFlags(run, 2, threads=1, encoder=NAME)
    again = measure(flags).figures["return"]
    assert again == json.loads((run / "evaluation.json").read_text())["return"]
    forget()
    for path in show_saliency(SaliencyFlags(run, encoder=NAME, threads=1)):
        assert path.stat().st_size
    forget()
    few = GalleryFlags(run, episodes=2, worst=1, best=1, height=64, threads=1, encoder=NAME)
    assert film_gallery(few)["played"] == 2
    forget()
    assert show_looks(LookFlags(str(run), output=run / "looks.png", encoder=NAME)).stat().st_size
    forget()
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    path = export(ExportFlags(run, "onnx", run / "student.onnx", encoder=NAME))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    student = load_student(run / "student")
    rng = np.random.default_rng(0)
    obs = {
        "frame": rng.integers(0, 256, (3, 4, 16, 16), np.uint8),
        "proprio": rng.normal(size=(3, 17)).astype(np.float32),
    }
    expected = student.predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(session.run(["action"], obs)[0], expected, rtol=0, atol=1e-5)


def test_a_size_of_the_batch_that_the_exporter_cannot_follow_is_said(
    pusher: Callable[..., Path],
) -> None:
    name = "own_encoders_of_a_user:Traced"
    run = pusher("--PPD", "--encoder", name)
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    with pytest.raises(UserError, match=r"Take the size of the batch from frames\.shape\[0\]"):
        export(ExportFlags(run, "onnx", run / "student.onnx", encoder=name))
    assert not (run / "student.onnx").exists()


def test_a_stopped_run_with_a_backbone_goes_on_to_the_bit(
    pusher: Callable[..., Path],
    folder: Path,
    weights: tuple[str, dict[str, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The hash of the file decides; its name may change. Checkpoints do not hold the weights."""
    file, tensors = weights
    longer = ("--total_timesteps", "48", "--num_steps", "8")
    whole = outcome(pusher(*ENCODER, "--backbone", file, *longer))
    (folder / "run").rename(folder / "whole")
    train, calls = OnPolicyStudent.train, itertools.count(1)

    def train_and_stop(model: OnPolicyStudent) -> None:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        train(model)

    with monkeypatch.context() as patch:
        patch.setattr(OnPolicyStudent, "train", train_and_stop)
        with pytest.raises(SystemExit):
            pusher(*ENCODER, "--backbone", file, *longer)
    forget()
    (folder / file).rename(folder / "moved.safetensors")
    moved = ("--backbone", "moved.safetensors")
    sha256 = json.loads((folder / "run" / "config.json").read_text())["config"]["student"][
        "backbone_sha256"
    ]
    run = pusher(*ENCODER, *moved, "--backbone_sha256", sha256, *longer, "--resume")
    assert outcome(run) == whole
    saved = safetensors.torch.load_file(
        max((run / "checkpoints").glob("step_*")) / "state.safetensors"
    )
    assert any("encoder.module.head" in name for name in saved)
    assert not any("backbone" in name for name in saved)
    state = load_student(run / "student").state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(state[f"encoder.module.backbone.{name}"], tensor), name
    safetensors.torch.save_file({**tensors, "0.bias": torch.ones(4)}, "moved.safetensors")
    with pytest.raises(SystemExit):
        pusher(*ENCODER, *moved, *longer, "--resume")
    assert "backbone_sha256" in capsys.readouterr().err


def test_another_run_goes_on_from_its_bundle(
    pusher: Callable[..., Path],
    folder: Path,
    weights: tuple[str, dict[str, torch.Tensor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The backbone is in the bundle, so its file is not needed again."""
    file, tensors = weights
    pusher(*ENCODER, "--backbone", file).rename(folder / "first")
    (folder / file).unlink()
    forget()
    assert f"give --encoder {NAME}" in failure(capsys, *SMALL, "--init_from", "first")
    run = pusher(*ENCODER, "--init_from", "first")
    state = load_student(run / "student").state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(state[f"encoder.module.backbone.{name}"], tensor), name
    config = json.loads((run / "config.json").read_text())["config"]["student"]
    first = json.loads((folder / "first" / "config.json").read_text())["config"]["student"]
    assert config["backbone_sha256"] == first["backbone_sha256"]


def test_keypoints_are_trained_and_recorded(pusher: Callable[..., Path]) -> None:
    run = pusher(*SMALL, "--keypoints", "5")
    config = json.loads((run / "config.json").read_text())["config"]["student"]
    assert config["keypoints"] == 5
    assert "pooling" not in config
    student = load_student(run / "student")
    assert student.config.keypoints == 5
    assert student.encoder.features_dim == 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--encoder", "Tiny"), "--encoder 'Tiny' is not package:Class"),
        (("--PPD", "--encoder", "no_such_package_x:A"), "--encoder no_such_package_x:A: No module"),
        (("--PPD", "--encoder", NAME + "y"), "has no subclass Tinyy of torch.nn.Module. Did you"),
        ((*ENCODER, "--mode", "ImpaalaSmall"), "--encoder and --mode both set the network"),
        ((*ENCODER, "--pooling", "2"), "--pooling: only for average pooling"),
        ((*ENCODER, "--keypoints", "2"), "--keypoints: only for --mode, which --encoder replaces"),
        (("--C_data", "--encoder", NAME), "--encoder: only with"),
        (("--PPD", "--encoder", "own_encoders_of_a_user:Scalar"), "its output for 2 frames is"),
        ((*ENCODER, "--backbone", "none"), "--backbone none cannot be read"),
        ((*ENCODER, "--backbone_sha256", "0" * 64), "--backbone_sha256: only with --backbone"),
        ((*SMALL, "--backbone", "x"), "--backbone: only with --encoder"),
        (("--PPD", "--keypoints", "4"), "--keypoints: only for frames"),
        ((*SMALL, "--keypoints", "-4"), "--keypoints -4 must be 0"),
        (
            ("--PPD", "--mode", "ImpaalaSmall", "--keypoints", "4", "--pooling", "2"),
            "--pooling: on",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str, folder: Path
) -> None:
    error = failure(capsys, *flags, "--output", "run", "--frame_size", "16x16")
    assert message in error
    assert not list((folder / "run").glob("*"))


def test_data_is_not_collected_for_an_encoder_that_does_not_fit(
    capsys: pytest.CaptureFixture[str], teacher: Path, folder: Path
) -> None:
    phases = ("--C_data", "--BC_phase", "--num_data", "300", "--teacher", str(teacher))
    scalar = ("--encoder", "own_encoders_of_a_user:Scalar", "--frame_size", "16x16")
    assert "its output" in failure(capsys, *phases, *scalar, "--output", "run")
    assert not (folder / "run" / "data").exists()
