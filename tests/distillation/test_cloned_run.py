"""Runs of behavioural cloning, as DAgger finds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from Common.errors import UserError
from Distillation.starting.cloned_run import read_cloned_run
from Models.student.bundle import load_student, save_student
from tests.support.cloning_data import student
from tests.support.tiny_teacher import tiny_teacher


def write_run(folder: Path, **config: Any) -> None:
    settings = {
        "task": "Pusher",
        "method": "BC_phase",
        "training": {"batch_size": 64, "run_index": 0},
        **config,
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"config": settings, "teacher_sha256": "abc"}))


def test_a_cloned_run_is_read_from_its_files(tmp_path: Path) -> None:
    write_run(tmp_path / "whatever it is called")
    run = read_cloned_run(tmp_path / "whatever it is called", "Pusher")
    assert run.config["training"]["batch_size"] == 64
    policy = student()
    save_student(policy, run.folder / "student", {})
    for name, tensor in load_student(run.folder / "student").state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name]), name
    same = replace(tiny_teacher().description, sha256="abc")
    run.check_teacher(same)  # the run is from before teachers had an identity
    with pytest.raises(UserError, match="another teacher"):
        run.check_teacher(replace(same, sha256="def"))
    replace(run, teacher_identity=same.identity).check_teacher(same)
    with pytest.raises(UserError, match="another teacher"):
        replace(run, teacher_identity=same.identity).check_teacher(replace(same, gamma=0.5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no run"),
        ("{", "does not describe a run"),
        ("[]", "does not describe a run"),
        ('{"config": {"task": "Pusher"}}', "does not describe a run"),
        ('{"config": {"task": "Pusher", "method": "PPD"}, "teacher_sha256": ""}', "Pusher by PPD"),
        ('{"config": {"task": "Hop", "method": "BC_phase"}, "teacher_sha256": ""}', "run of Hop"),
    ],
)
def test_a_folder_that_is_no_cloned_run(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_cloned_run(tmp_path, "Pusher")
    with pytest.raises(UserError, match="--folder_Dagger"):
        read_cloned_run(tmp_path / "missing", "Pusher")
