"""What students learn from, as tensors in the right order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.samples.aggregate import Aggregate
from Algorithm.cloning.samples.data import BatchReader, Prefetcher, TeacherSamples
from Common.errors import UserError
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.observations import observation_space
from Models.distributions import FAMILIES, SquashedGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.cloning_data import MemoryData
from tests.support.tiny_dataset import TASK, collect_tiny


def test_a_batch_holds_what_the_student_reads() -> None:
    data = MemoryData()
    indices = np.array([7, 3, 3])
    batch = BatchReader(data, ("frame", "proprio"), torch.device("cpu"))(indices)
    assert batch.obs.keys() == {"frame", "proprio"}
    np.testing.assert_array_equal(batch.obs["frame"], data.columns["frame"][indices])
    assert batch.obs["frame"].is_contiguous(memory_format=torch.channels_last)
    assert type(batch.teacher) is FAMILIES[data.family]
    np.testing.assert_array_equal(batch.teacher.mode(), data.columns["distribution.mean"][indices])


def teacher_dataset(identity: dict[str, str]) -> Any:
    """What `TeacherSamples` asks of a teacher dataset."""
    data = MemoryData()
    recipe = SimpleNamespace(recipe=SimpleNamespace(teacher=identity))
    return SimpleNamespace(
        folder="here", manifest=recipe, read=data.read, split=data.split, columns=data.columns
    )


def test_blind_students_learn_from_frames_of_zeros() -> None:
    dataset = teacher_dataset({"family": "squashed_gaussian"})
    indices, columns = np.arange(5), ("frame", "proprio")
    sighted = TeacherSamples(dataset).read(indices, columns)
    blind = TeacherSamples(dataset, blind=True).read(indices, columns)
    np.testing.assert_array_equal(sighted["frame"], dataset.columns["frame"][:5])
    assert not blind["frame"].any()
    np.testing.assert_array_equal(blind["proprio"], sighted["proprio"])
    assert TeacherSamples(dataset, blind=True).read(indices, ("state",)).keys() == {"state"}


def test_a_dataset_without_distributions() -> None:
    with pytest.raises(UserError, match="The dataset here does not name a family"):
        TeacherSamples(teacher_dataset({}))


def test_what_tells_datasets_from_each_other(tmp_path: Path) -> None:
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "data"), TASK)
    again = TeacherDataset.open(collect_tiny(tmp_path / "again"), TASK)
    identity = TeacherSamples(dataset).identity()
    assert identity["states"] == len(dataset)
    assert TeacherSamples(again).identity() == identity
    assert TeacherSamples(dataset, blind=True).identity() != identity
    shards = [dataclasses.replace(shard, sha256="0" * 64) for shard in dataset.manifest.shards]
    other = dataclasses.replace(dataset.manifest, shards=tuple(shards))
    changed = TeacherSamples(TeacherDataset(dataset.folder, other, TASK)).identity()
    assert changed["sha256"] != identity["sha256"]


def test_batches_come_in_the_order_asked_for() -> None:
    data = MemoryData()
    with Prefetcher(BatchReader(data, ("state",), torch.device("cpu"))) as batches:
        for first in range(0, 50, 5):
            batches.start(np.arange(first, first + 5))
            expected = data.columns["state"][first : first + 5]
            np.testing.assert_array_equal(batches.wait().obs["state"], expected)


def test_reading_old_and_new_keeps_the_order() -> None:
    base = MemoryData()
    data = Aggregate(base, base.family, 3, 2, None)
    for step in range(3):
        state = np.array([[step] * 6, [step + 0.5] * 6], np.float32)
        labels = SquashedGaussian(torch.from_numpy(state[:, :2]), torch.zeros(2, 2))
        data.add({"state": state}, np.array([step == 0] * 2), labels)
    indices = np.array([205, 7, 200, 201, 7, 199])
    read = data.read(indices, ("state", "distribution.mean"))
    assert (read["state"][[0, 2, 3]] == [[2.5], [0.0], [0.5]]).all()
    assert (read["distribution.mean"][[0, 2, 3]] == [[2.5], [0.0], [0.5]]).all()
    np.testing.assert_array_equal(read["state"][[1, 4]], base.columns["state"][[7, 7]])
    np.testing.assert_array_equal(read["state"][5], base.columns["state"][199])
    assert len(data) == 206
    with pytest.raises(ValueError, match="it holds 3 steps"):
        data.add({}, np.zeros(2, bool), labels)


def test_a_collected_dataset_is_learned_from(tmp_path: Path) -> None:
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "data"), TASK)
    torch.manual_seed(0)
    config = StudentConfig(mode="ImpaalaSmall", precision="float32", head=(16,))
    space = observation_space(TASK, 10)
    policy = StudentPolicy(space, spaces.Box(-1, 1, (2,)), lambda _: 1e-3, config=config)
    settings = CloningConfig(gradient_steps=40, batch_size=32, held_out=0.2)
    model = BehaviouralCloning(policy, TeacherSamples(dataset), settings)
    before = model.validate()["mse"]
    model.learn()
    assert model.validate()["mse"] < 0.7 * before
    assert model.env_steps == len(dataset)
