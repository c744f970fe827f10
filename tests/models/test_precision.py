"""A student computes in what the processor has that it runs on, wherever it was trained."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from Common.commands.exits import print_once
from Evaluation.export.__main__ import ExportFlags
from Evaluation.export.student_file import export
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentPolicy
from tests.models.test_deployed import make_student, some_obs


def write(folder: Path, **config: Any) -> StudentPolicy:
    student = make_student(precision="bfloat16", **config)
    save_student(student, folder, {"task": "Pusher"})
    return student


@pytest.mark.usefixtures("no_bfloat16")
@pytest.mark.parametrize("config", [{}, {"fully_connected": 16}], ids=str)
def test_without_bfloat16_a_bundle_runs_in_float32_and_says_so_once(config, tmp_path, capsys):
    """The judge is the same student, trained in float32."""
    student = write(tmp_path, **config)
    exact = make_student(precision="float32", **config)
    exact.load_state_dict(student.state_dict())
    obs = some_obs(student, 5)
    print_once.cache_clear()
    for _ in range(2):
        loaded = load_student(tmp_path)
        actions = loaded.predict(obs, deterministic=True)[0]
    assert actions.tobytes() == exact.predict(obs, deterministic=True)[0].tobytes()
    assert capsys.readouterr().err.splitlines() == [
        "Note: This processor lacks bfloat16: a network trained in bfloat16 runs in float32."
    ]
    # What is written again still says what it was trained in.
    save_student(loaded, tmp_path / "again", {"task": "Pusher"})
    description = json.loads((tmp_path / "again" / "student.json").read_text())
    assert description["config"]["precision"] == "bfloat16"


@pytest.mark.usefixtures("bfloat16")
def test_with_bfloat16_it_runs_in_bfloat16(tmp_path, capsys):
    write(tmp_path)
    loaded = load_student(tmp_path)
    exact = copy.deepcopy(loaded)
    exact.encoder.precision = "float32"
    obs = some_obs(loaded, 5)
    ours, others = (each.predict(obs, deterministic=True)[0] for each in (loaded, exact))
    assert not np.array_equal(ours, others)
    assert (loaded.precision, capsys.readouterr().err) == ("bfloat16", "")


@pytest.mark.usefixtures("no_bfloat16")
def test_what_was_trained_in_float32_or_sees_no_frames_says_nothing(capsys):
    print_once.cache_clear()
    for student in (make_student(precision="float32"), make_student(mode="State")):
        student.predict(some_obs(student, 2))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_bfloat16")
def test_a_torchscript_file_is_in_what_the_processor_has(tmp_path, capsys):
    write(tmp_path / "bundle")
    path = export(ExportFlags(tmp_path / "bundle", "torchscript", tmp_path / "student.pt"))
    texts = {"metadata.json": ""}
    torch.jit.load(path, _extra_files=texts)
    assert json.loads(texts["metadata.json"])["precision"] == "float32"
    assert "the student's bit-for-bit" in capsys.readouterr().out
