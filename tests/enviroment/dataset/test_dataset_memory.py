"""Memory is that of one shard, however many there are.

Mapped files are left out: the kernel takes their pages back when it needs them. What counts is
what Python and NumPy allocate (tracemalloc sees both), and how many maps are open at once.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Enviroment.dataset import collect as collection
from Enviroment.dataset import reader as reader
from Enviroment.dataset.format import Manifest
from Enviroment.dataset.reader import TeacherDataset
from tests.support.tiny_dataset import LONGEST, TASK, collect_tiny

FRAMES = replace(TASK, frame_size=(64, 64))
EPISODES = 10  # a shard
SHARD = EPISODES * LONGEST * 64 * 64  # bytes of its frames
FEW, MANY = 150, 900  # env steps


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[int]]:
    """Datasets of few and of many shards, and the largest allocation while each was collected."""
    place = tmp_path_factory.mktemp("memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", SHARD)
        collect_tiny(place / "first", 20, task=FRAMES)  # what is loaded once
        few, many = place / "few", place / "many"
        peaks = [
            peak(lambda: collect_tiny(few, FEW, task=FRAMES)),
            peak(lambda: collect_tiny(many, MANY, task=FRAMES)),
        ]
    assert 2 <= len(Manifest.read(few).shards) <= 3
    assert len(Manifest.read(many).shards) >= 10
    return few, many, peaks


def peak(action: Callable[[], object]) -> int:
    """Bytes that were allocated at once, at most, since the action began."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_collection_holds_one_shard(folders: tuple[Path, Path, list[int]]) -> None:
    few, many = folders[2]
    assert few > SHARD / 2  # it does see the frames
    assert many < few + SHARD / 4


def read_all(folder: Path) -> None:
    dataset = TeacherDataset.open(folder, FRAMES)
    order = np.random.default_rng(0).permutation(len(dataset))
    for first in range(0, len(order), 30):
        dataset.read(order[first : first + 30])


def test_reading_holds_one_batch(folders: tuple[Path, Path, list[int]]) -> None:
    few, many = peak(lambda: read_all(folders[0])), peak(lambda: read_all(folders[1]))
    batch = 30 * 4 * 64 * 64  # bytes of its stacks of frames
    assert few > batch
    assert many < few + batch / 4


def test_maps_are_closed_when_there_are_many(
    folders: tuple[Path, Path, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_OPEN_SHARDS", 3)
    dataset = TeacherDataset.open(folders[1], FRAMES)
    for index in np.linspace(0, len(dataset) - 1, 50).astype(int):
        dataset.read([index])
        assert open_maps(folders[1]) <= 3
    assert open_maps(folders[1]) == 3
    del dataset
    assert open_maps(folders[1]) == 0


def open_maps(folder: Path) -> int:
    """How many files of the folder this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split()[-1] for line in lines if str(folder) in line})
