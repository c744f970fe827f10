"""A saved training, where it is damaged, replaced, or the disk is full."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Common.errors import UserError
from tests.support.cloning_data import MemoryData, student


def cloning(steps: int = 0) -> BehaviouralCloning:
    config = CloningConfig(gradient_steps=steps, batch_size=16, held_out=0.1)
    return BehaviouralCloning(student(), MemoryData(), config).learn()


def test_there_is_no_code_in_it(tmp_path: Path) -> None:
    cloning().save(tmp_path)
    files = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    checkpoint = "learner/step_000000000000"
    assert files == [
        *(f"{checkpoint}/{name}" for name in ("learner.safetensors", "manifest.json")),
        *(f"{checkpoint}/state.json", "student.json", "student.safetensors"),
    ]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    cloning(2).save(tmp_path)
    model = cloning(4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for the student, and not for its optimizer.
    size = (tmp_path / "student.safetensors").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with pytest.raises(UserError, match=r"learner.* cannot be written"):
            model.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert BehaviouralCloning.load(tmp_path, MemoryData()).gradient_steps == 2
    assert len(list((tmp_path / "learner").iterdir())) == 1


@pytest.mark.parametrize("steps", [2, 3])
def test_another_training_takes_the_place_of_an_older_one(tmp_path: Path, steps: int) -> None:
    cloning(3).save(tmp_path)
    cloning(steps).save(tmp_path)
    loaded = BehaviouralCloning.load(tmp_path, MemoryData())
    assert loaded.config.gradient_steps == loaded.gradient_steps == steps
    assert len(list((tmp_path / "learner").iterdir())) == 1


def test_files_that_cannot_be_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="no complete training to resume"):
        BehaviouralCloning.load(tmp_path, MemoryData())
    cloning().save(tmp_path)
    with pytest.raises(UserError, match=r"dataset\.states was 200 and is 400"):
        BehaviouralCloning.load(tmp_path, MemoryData(40))
    (path,) = (tmp_path / "learner").glob("*/learner.safetensors")
    whole = path.read_bytes()
    flipped = bytes([whole[-1] ^ 1])
    for damaged in (whole[: len(whole) // 2], b"", whole[:-1] + flipped):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="no complete training"):
            BehaviouralCloning.load(tmp_path, MemoryData())
        assert "learner.safetensors is not the file that was written" in capsys.readouterr().err
