"""The file from which a training goes on, where it is damaged or the disk is full."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from Algorithm.cloning import BehaviouralCloning
from Algorithm.learner_file import write_learner
from Enviroment.errors import UserError
from tests.cloning_data import MemoryData, student


def cloning() -> BehaviouralCloning:
    return BehaviouralCloning(student(), MemoryData())


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    model = cloning()
    model.save(tmp_path)
    before = (tmp_path / "learner.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=r"learner\.pt cannot be written.*Make room"):
            write_learner(tmp_path, model.state_dict())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "learner.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["learner.pt", "student.json", "student.safetensors"]
    )


def test_files_that_cannot_be_gone_on_from(tmp_path: Path) -> None:
    model = cloning()
    with pytest.raises(UserError, match="no training to go on with"):
        BehaviouralCloning.load(tmp_path, MemoryData())
    model.save(tmp_path)
    with pytest.raises(UserError, match="trained on 200 labelled states, and there are 400"):
        BehaviouralCloning.load(tmp_path, MemoryData(40))
    path = tmp_path / "learner.pt"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"garbage", b"\x80\x04."):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"learner\.pt"):
            BehaviouralCloning.load(tmp_path, MemoryData())
    torch.save({"policy": 1}, path)
    with pytest.raises(UserError, match="holds no training"):
        BehaviouralCloning.load(tmp_path, MemoryData())
