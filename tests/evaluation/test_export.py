"""The command that writes the deployed student, what a robot does with the file, and bad input."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Common.places import ROOT
from Evaluation.evaluate import measure as evaluate_tool
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.__main__ import main as evaluate_main
from Evaluation.evaluate.subject import open_subject
from Evaluation.export.__main__ import ExportFlags, main
from Evaluation.export.student_file import export
from Models.student.bundle import load_student, save_student
from Models.student.deployed import to_onnx
from Models.student.policy import StudentConfig, StudentPolicy

DOC = ROOT / "docs" / "deploy.md"


# -- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of Pusher."""
    torch.manual_seed(0)
    groups = {
        "frame": spaces.Box(0, 255, (4, 16, 16), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (17,), np.float32),
    }
    actions = spaces.Box(-2.0, 2.0, (7,), np.float32)
    config = StudentConfig(family="squashed_gaussian", precision="bfloat16", head=(32,))
    student = StudentPolicy(spaces.Dict(groups), actions, lambda _: 0.0, config=config)
    with torch.no_grad():
        student.actor[-1].weight *= 100  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOperatorIssue]
    folder = tmp_path_factory.mktemp("bundle")
    save_student(student, folder, {"task": "Pusher", "frame_interval": 2})
    return folder


def check_metadata(about: dict[str, str], bundle: Path, precision: str) -> None:
    description = json.loads((bundle / "student.json").read_text())
    assert about["task"] == "Pusher" and about["family"] == "squashed_gaussian"
    assert about["student_sha256"] == description["sha256"]
    assert json.loads(about["inputs"]) == {
        "frame": {"dtype": "uint8", "shape": [4, 16, 16]},
        "proprio": {"dtype": "float32", "shape": [17]},
    }
    assert json.loads(about["output"]) == {
        "name": "action",
        "dtype": "float32",
        "shape": [7],
        "low": [-2.0] * 7,
        "high": [2.0] * 7,
    }
    assert about["precision"] == precision
    stack = (about["frame_stack"], about["frame_interval"], about["frame_channels"])
    assert stack == ("4", "2", "1")
    assert json.loads(about["proprio"]) == [[0, 17]]
    assert json.loads(about["camera"])["elevation"] == -90
    assert "blind" not in about


@pytest.mark.usefixtures("bfloat16")
def test_an_onnx_file_tells_what_it_is(bundle: Path, tmp_path: Path, capsys):
    onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")
    path = export(ExportFlags(bundle, "onnx", tmp_path / "new" / "student.onnx"))
    model = onnx.load(path)
    check_metadata({p.key: p.value for p in model.metadata_props}, bundle, "float32")
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    expected = {"frame": ["batch", 4, 16, 16], "proprio": ["batch", 17], "action": ["batch", 7]}
    assert shapes == expected
    assert "the student's bfloat16: at most" in capsys.readouterr().out


@pytest.mark.usefixtures("bfloat16")
def test_a_torchscript_file_tells_what_it_is(bundle: Path, tmp_path: Path, capsys):
    path = export(ExportFlags(bundle, "torchscript", tmp_path / "student.pt"))
    texts = {"metadata.json": ""}
    torch.jit.load(path, _extra_files=texts)
    check_metadata(json.loads(texts["metadata.json"]), bundle, "bfloat16")
    assert "bit-for-bit" in capsys.readouterr().out


def test_a_file_that_acts_otherwise_is_not_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")

    def other(student: StudentPolicy) -> bytes:
        changed = load_student(bundle)
        with torch.no_grad():
            changed.actor[-1].bias += 0.01  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOperatorIssue]
        return to_onnx(changed)

    monkeypatch.setattr("Evaluation.export.student_file.to_onnx", other)
    with pytest.raises(UserError, match="was not written"):
        export(ExportFlags(bundle, "onnx", tmp_path / "student.onnx"))
    assert not list(tmp_path.iterdir())


def test_evaluate_exports_beside_the_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before it plays, so that what is missing is said at once."""
    folder = shutil.copytree(bundle, tmp_path / "student")

    class PlayedError(Exception): ...

    def play(*args: object) -> None:
        raise PlayedError

    monkeypatch.setattr(evaluate_tool, "torch_threads", play)
    with pytest.raises(PlayedError):
        evaluate_tool.evaluate(EvaluateFlags(folder, export="torchscript"))
    torch.jit.load(folder / "student.pt")
    onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")
    (folder / "student.onnx").write_text("an older one")
    with pytest.raises(PlayedError):
        evaluate_tool.evaluate(EvaluateFlags(folder, export="onnx"))
    onnx.checker.check_model(folder / "student.onnx")


@pytest.mark.slow
def test_a_runs_student_is_evaluated_and_exported(pusher, monkeypatch: pytest.MonkeyPatch):
    run = pusher("--PPD", "--mode", "ImpaalaSmall")
    command = ["evaluate", str(run), "--episodes", "2", "--export", "torchscript"]
    monkeypatch.setattr(sys, "argv", command)
    evaluate_main()
    assert (run / "student" / "student.pt").is_file()


# -- a robot -----------------------------------------------------------------------------------


def test_the_documents_loop_sees_and_acts_as_the_student(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Against the frame stack and the student of the evaluation, over two episodes."""
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    code = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)[0]
    assert "Evaluation" not in code and "torch" not in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    export(ExportFlags(bundle, "onnx", Path("student.onnx")))
    robot: dict[str, Any] = {}
    exec(code, robot)
    subject = open_subject(bundle)
    subject.student.encoder.precision = "float32"
    env = subject.make_env(1)
    history: deque = robot["history"]
    try:
        obs: Any = env.reset()
        for step in range(12):
            if step == 9:  # the next episode, with another beginning
                history.clear()
                obs = env.reset()
            action = robot["act"](obs["frame"][0, -1:], obs["proprio"][0])
            np.testing.assert_array_equal(
                np.concatenate(list(history)[:: robot["interval"]]), obs["frame"][0]
            )
            expected = subject.student.predict(obs, deterministic=True)[0]
            np.testing.assert_allclose(action, expected[0], rtol=0, atol=1e-5)
            obs = env.step(expected)[0]
        assert len(np.unique(obs["frame"][0].reshape(4, -1), axis=0)) > 1  # something moved
    finally:
        env.close()


def test_the_documents_torchscript_lines(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "torch.jit" in block]
    monkeypatch.chdir(tmp_path)
    export(ExportFlags(bundle, "torchscript", Path("student.pt")))
    student = load_student(bundle)
    rng = np.random.default_rng(0)
    obs = {
        "frame": rng.integers(0, 256, (3, 4, 16, 16), np.uint8),
        "proprio": rng.normal(size=(3, 17)).astype(np.float32),
    }
    names: dict[str, Any] = {name: torch.as_tensor(values) for name, values in obs.items()}
    exec(code, names)
    np.testing.assert_array_equal(names["action"], student.predict(obs, deterministic=True)[0])


# -- bad input ---------------------------------------------------------------------------------


def failure(monkeypatch: pytest.MonkeyPatch, capsys, *flags: object) -> str:
    """What the command says on standard error; its exit code is 2."""
    monkeypatch.setattr(sys, "argv", ["export", *map(str, flags)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err and not said.out
    return said.err


TORCHSCRIPT = ("--format", "torchscript", "--output")


def test_no_folder(tmp_path: Path, monkeypatch, capsys):
    said = failure(monkeypatch, capsys, tmp_path / "none", *TORCHSCRIPT, tmp_path / "a.pt")
    assert f"There is no folder {tmp_path / 'none'}" in said


def test_no_student_in_the_folder(tmp_path: Path, monkeypatch, capsys):
    said = failure(monkeypatch, capsys, tmp_path, *TORCHSCRIPT, tmp_path / "a.pt")
    assert f"There is no student at {tmp_path / 'student.json'}" in said


def test_an_output_that_is_there_stays_without_overwrite(
    bundle: Path, tmp_path: Path, monkeypatch, capsys
):
    path = tmp_path / "a.pt"
    path.write_text("mine")
    said = failure(monkeypatch, capsys, bundle, *TORCHSCRIPT, path)
    assert f"{path} already exists" in said and "--overwrite" in said
    assert path.read_text() == "mine"
    export(ExportFlags(bundle, "torchscript", path, overwrite=True))
    torch.jit.load(path)


def test_an_output_that_is_a_folder_or_below_a_file(
    bundle: Path, tmp_path: Path, monkeypatch, capsys
):
    said = failure(monkeypatch, capsys, bundle, *TORCHSCRIPT, tmp_path, "--overwrite")
    assert "is a folder" in said
    (tmp_path / "file").touch()
    said = failure(monkeypatch, capsys, bundle, *TORCHSCRIPT, tmp_path / "file" / "a.pt")
    assert "cannot be written" in said


def test_a_damaged_bundle(bundle: Path, tmp_path: Path, monkeypatch, capsys):
    folder = shutil.copytree(bundle, tmp_path / "damaged")
    weights = folder / "student.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said = failure(monkeypatch, capsys, folder, *TORCHSCRIPT, tmp_path / "a.pt")
    assert "SHA-256" in said and str(weights) in said
    assert not (tmp_path / "a.pt").exists()


def test_an_unknown_format(bundle: Path, tmp_path: Path, monkeypatch, capsys):
    failure(monkeypatch, capsys, bundle, "--format", "tflite", "--output", tmp_path / "a")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_the_command_that_installs_it_is_said(
    bundle: Path, tmp_path: Path, monkeypatch, capsys, package: str
):
    pytest.importorskip("onnx", reason="what comes first would be missed first")
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "a.onnx"
    said = failure(monkeypatch, capsys, bundle, "--format", "onnx", "--output", path)
    assert f"needs {package}" in said and "pip install -e '.[export]'" in said
    with pytest.raises(UserError, match=r"pip install -e '\.\[export\]'"):
        evaluate_tool.evaluate(EvaluateFlags(bundle, export="onnx"))
