"""Minari's own reader on what is exported, and the way back."""

import sys
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from Common.errors import UserError
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset import collect as collection
from Enviroment.dataset.minari_exchange import export_minari, import_minari
from Enviroment.dataset.reader import TeacherDataset
from tests.support.tiny_dataset import LONGEST, TASK, ArithmeticTeacher, collect_tiny, content

NAME = "Reacher/teacher-v0"


def test_without_minari_the_command_that_installs_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "minari", None)
    collect_tiny(tmp_path / "a", 20)
    with pytest.raises(SystemExit) as verdict:
        dataset_tools.main(["export", str(tmp_path / "a"), NAME, "--root", str(tmp_path)])
    assert verdict.value.code == 2
    assert "`pip install -e '.[minari]'`" in capsys.readouterr().err


@pytest.fixture
def minari(monkeypatch):
    pytest.importorskip("h5py", reason="Minari is optional")
    monkeypatch.setattr(collection, "_SHARD_BYTES", 5 * LONGEST * 16 * 24)
    return pytest.importorskip("minari", reason="Minari is optional")


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_there_and_back_without_a_bit_changed(minari, tmp_path, noise):
    folder = collect_tiny(tmp_path / "a", behaviour_noise=noise)
    path = export_minari(TeacherDataset.open(folder, TASK), NAME, tmp_path / "minari")
    import_minari(NAME, TASK, tmp_path / "b", tmp_path / "minari")
    assert content(tmp_path / "b") == content(folder)
    import_minari(str(path), TASK, tmp_path / "c")
    assert content(tmp_path / "c") == content(folder)


def test_minari_reads_what_was_recorded(minari, monkeypatch, tmp_path):
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "a"), replace(TASK, stack=1))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    export_minari(dataset, NAME)
    loaded = minari.load_dataset(NAME)
    assert (loaded.total_steps, loaded.total_episodes) == (len(dataset), dataset.n_episodes)
    for index, episode in enumerate(loaded.iterate_episodes()):
        batch = dataset.read(np.arange(*dataset.starts[index : index + 2]))
        np.testing.assert_array_equal(episode.observations["frame"][:-1], batch["frame"])
        np.testing.assert_array_equal(episode.observations["state"][:-1], batch["state"])
        np.testing.assert_array_equal(episode.actions, batch["action"])
        np.testing.assert_array_equal(episode.rewards, batch["reward"])
        np.testing.assert_array_equal(episode.terminations, batch["terminated"])
        np.testing.assert_array_equal(episode.infos["value"], batch["value"])
    with pytest.raises(UserError, match="A Minari dataset exists at"):
        export_minari(dataset, NAME)


def test_a_users_own_dataset(minari, monkeypatch, tmp_path):
    """Made by Minari's own function, without any labels."""
    buffers = make_buffers([(5, True), (LONGEST, False), (7, False)])
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    make(minari, "mine-v1", buffers)
    folder = import_minari("mine-v1", TASK, tmp_path / "b")
    dataset = TeacherDataset.open(folder, TASK)
    assert dataset.lengths.tolist() == [5, LONGEST, 7]
    batch = dataset.read(np.arange(len(dataset)))
    np.testing.assert_array_equal(batch["frame"][:5, -1], buffers[0].observations["frame"][:-1, 0])
    np.testing.assert_array_equal(batch["action"][:5], buffers[0].actions)
    assert not any(name.startswith("distribution.") for name in batch)
    assert batch["seed"][0] == -1
    assert np.flatnonzero(batch["terminated"]).tolist() == [4]
    assert np.flatnonzero(batch["truncated"]).tolist() == [4 + LONGEST, 11 + LONGEST]
    with pytest.raises(UserError, match=r"was imported.*import mine-v1 again"):
        collection.repair(folder, ArithmeticTeacher(), [0])


def test_what_does_not_fit_is_refused(minari, monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    make(minari, "mine-v1", make_buffers([(5, True)]))
    with pytest.raises(UserError, match=r"Episode 0.*frames are uint8 \(1, 16, 24\)"):
        import_minari("mine-v1", replace(TASK, frame_size=(16, 32)), tmp_path / "b")
    with pytest.raises(UserError, match=r"Minari dataset at .* cannot be read"):
        import_minari("yours-v1", TASK, tmp_path / "b")
    with pytest.raises(UserError, match="not a valid name of a Minari dataset"):
        import_minari("yours?", TASK, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    import_minari("mine-v1", TASK, tmp_path / "b")
    with pytest.raises(UserError, match="not empty"):
        import_minari("mine-v1", TASK, tmp_path / "b")


def make_buffers(episodes):
    buffer = import_module("minari.data_collector.episode_buffer").EpisodeBuffer

    rng = np.random.default_rng(3)
    return [
        buffer(
            observations={
                "frame": rng.integers(0, 256, (length + 1, 1, 16, 24), np.uint8),
                "state": rng.normal(size=(length + 1, 10)).astype(np.float32),
            },
            actions=rng.uniform(-1, 1, (length, 2)).astype(np.float32),
            rewards=rng.normal(size=length).tolist(),
            terminations=[False] * (length - 1) + [terminated],
            truncations=[False] * length,
            infos={},
        )
        for length, terminated in episodes
    ]


def make(minari, name, buffers):
    from gymnasium import spaces

    minari.create_dataset_from_buffers(
        name,
        buffers,
        observation_space=spaces.Dict(
            frame=spaces.Box(0, 255, (1, 16, 24), np.uint8),
            state=spaces.Box(-np.inf, np.inf, (10,), np.float32),
        ),
        action_space=spaces.Box(-1, 1, (2,), np.float32),
        jpeg_encoding=False,
    )
