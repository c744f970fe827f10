"""LeRobot's datasets: the layout of ours, the way back, and what LeRobot's own writer wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Enviroment.cameras import DepthRange
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset import collect as collection
from Enviroment.dataset.lerobot.export import Views, export_lerobot
from Enviroment.dataset.lerobot.importing import import_lerobot
from Enviroment.dataset.lerobot.stats import aggregate, picture_stats, vector_stats
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import TASKS
from tests.support.sharing.lerobot_side import CAMERA, FPS, LENGTHS, SIZE, recorded
from tests.support.tiny_dataset import LONGEST, TASK, collect_tiny, content

pytest.importorskip("pyarrow", reason="pyarrow is optional")
WRITTEN = Path(__file__).parents[2] / "support" / "sharing" / "lerobot_written"  # by LeRobot 0.4.4
COLOURED = replace(TASKS["Reacher"], frame_size=SIZE, grayscale=False, stack=1)
OURS = "observation.images.camera"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of several shards, executed with noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", 5 * LONGEST * 16 * 24)
        return collect_tiny(tmp_path_factory.mktemp("steps") / "data", behaviour_noise=0.3)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> TeacherDataset:
    return TeacherDataset.open(folder, replace(TASK, stack=1))


@pytest.fixture(scope="module")
def exported(dataset: TeacherDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_lerobot(dataset, tmp_path_factory.mktemp("out") / "png", instruction="reach it")


def table(path: Path):
    import pyarrow.parquet as pq

    return pq.read_table(path)


def test_there_and_back_without_a_bit_changed(exported: Path, folder: Path, tmp_path: Path) -> None:
    assert len(content(folder)) > 3, "several shards"
    import_lerobot(exported, TASK, tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def test_video_changes_frames_a_little_and_nothing_else(
    dataset: TeacherDataset, tmp_path: Path
) -> None:
    export_lerobot(dataset, tmp_path / "video", video=True)
    import_lerobot(tmp_path / "video", TASK, tmp_path / "back")
    back = TeacherDataset.open(tmp_path / "back", dataset.task)
    steps = np.arange(len(dataset))
    before, after = dataset.read(steps), back.read(steps)
    assert before.keys() == after.keys()
    for name in before.keys() - {"frame"}:
        np.testing.assert_array_equal(before[name], after[name])
    difference = np.abs(before["frame"].astype(int) - after["frame"].astype(int))
    assert difference.mean() < 2  # of 255; these frames of 16x24 are hard on any video
    assert difference.max() < 40
    with pytest.raises(Exception, match="was imported"):
        collection.repair(tmp_path / "back", None, [0])  # pyright: ignore[reportArgumentType]


def test_the_layout_is_the_documented_one(exported: Path, dataset: TeacherDataset) -> None:
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_frames"], info["total_episodes"]) == (len(dataset), dataset.n_episodes)
    assert info["fps"] == 50, "Reacher's render_fps"
    assert info["splits"] == {"train": f"0:{dataset.n_episodes}"}
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    shapes = {name: tuple(f["shape"]) for name, f in info["features"].items()}
    assert shapes[OURS] == (16, 24, 3)
    assert shapes["observation.state"] == (6,), "the joints; the whole state would give it away"
    assert shapes["observation.environment_state"] == (10,)
    assert shapes["action"] == (2,)
    files = sorted((exported / "data" / "chunk-000").iterdir())
    assert len(files) == len(dataset.manifest.shards)
    data = table(files[0])
    assert set(data.column_names) == set(shapes)
    n = int(dataset.lengths[0])
    assert data["frame_index"].to_pylist()[: n + 1] == [*range(n), 0]
    np.testing.assert_allclose(data["timestamp"].to_numpy(), data["frame_index"].to_numpy() / 50)
    picture = data[OURS][0].as_py()
    assert picture["bytes"].startswith(b"\x89PNG")
    rows = table(exported / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert [row["dataset_from_index"] for row in rows] == dataset.starts[:-1].tolist()
    assert [row["dataset_to_index"] for row in rows] == dataset.starts[1:].tolist()
    assert {row["tasks"][0] for row in rows} == {"reach it"}
    tasks = table(exported / "meta" / "tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "__index_level_0__": "reach it"}]


def test_the_statistics_are_those_of_the_steps(exported: Path, dataset: TeacherDataset) -> None:
    stats = json.loads((exported / "meta" / "stats.json").read_text())
    batch = dataset.read(np.arange(len(dataset)))
    for name, ours in (("action", "action"), ("observation.environment_state", "state")):
        values = batch[ours].astype(np.float64)
        np.testing.assert_allclose(stats[name]["mean"], values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(stats[name]["std"], values.std(axis=0), atol=1e-12)
        np.testing.assert_array_equal(stats[name]["max"], values.max(axis=0))
        assert stats[name]["count"] == [len(dataset)]
    shares = batch["frame"] / 255  # (T, 1, H, W)
    for channel in range(3):
        assert stats[OURS]["mean"][channel] == [[pytest.approx(shares.mean())]]
        assert stats[OURS]["std"][channel] == [[pytest.approx(shares.std())]]


def test_statistics_by_hand() -> None:
    """Two steps [1, 3] and one [9]: together mean 13/3, variance 2((1-13/3)^2+...)/3."""
    parts = [vector_stats(np.array([[1.0], [3.0]])), vector_stats(np.array([[9.0]]))]
    assert parts[0]["q50"] == [2.0]
    both = aggregate(parts)
    assert both["mean"] == pytest.approx(13 / 3)
    assert both["std"] == pytest.approx(np.std([1, 3, 9]))
    assert (both["min"], both["max"], both["count"]) == ([1.0], [9.0], [3])
    assert both["q50"] == pytest.approx((2 * 2 + 9) / 3)
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[0, 0, :, 1] = 255
    stats = picture_stats(picture)
    assert stats["mean"].reshape(-1).tolist() == [0.0, 0.5, 0.0]
    assert stats["std"].shape == (3, 1, 1)
    assert stats["max"].reshape(-1).tolist() == [0.0, 1.0, 0.0]


def test_several_cameras_and_depth_become_one_column_each() -> None:
    task = replace(TASKS["Reacher"], grayscale=False, depth=DepthRange(0.1, 2.0))
    channels = Views.of(task).channels
    assert channels == {"camera": slice(0, 3), "camera_depth": slice(3, 4)}
    frames = np.arange(2 * 4 * 2 * 2, dtype=np.uint8).reshape(2, 4, 2, 2)
    pictures = Views.of(task).split(frames)
    assert pictures["camera"][1, 0, 1].tolist() == frames[1, :3, 0, 1].tolist()
    assert pictures["camera_depth"][1, 0, 1].tolist() == [frames[1, 3, 0, 1]] * 3


@pytest.mark.parametrize("stored", ["image", "video"])
def test_what_lerobot_itself_wrote(stored: str, tmp_path: Path) -> None:
    """LeRobot's default codec is AV1 at a low quality."""
    import_lerobot(WRITTEN / stored, COLOURED, tmp_path / "steps", fps=FPS)
    dataset = TeacherDataset.open(tmp_path / "steps", COLOURED)
    assert dataset.lengths.tolist() == list(LENGTHS)
    batch, wanted = dataset.read(np.arange(len(dataset))), recorded()
    np.testing.assert_array_equal(batch["state"], wanted["observation.state"])
    np.testing.assert_array_equal(batch["action"], wanted["action"])
    assert not batch["reward"].any()
    assert np.flatnonzero(batch["truncated"]).tolist() == [4, 12, 15]
    assert not batch["terminated"].any()
    frames = wanted[CAMERA].transpose(0, 3, 1, 2)  # (T, H, W, 3) -> (T, 3, H, W)
    difference = np.abs(batch["frame"].astype(int) - frames)
    # A step changes every pixel by 8 or 4, so that a frame of another step would show.
    assert difference.mean() < (0.001 if stored == "image" else 2)


def test_frames_are_converted_to_those_of_the_task(tmp_path: Path) -> None:
    task = replace(TASKS["Reacher"], frame_size=(16, 16))
    import_lerobot(WRITTEN / "image", task, tmp_path / "steps", fps=FPS)
    frames = TeacherDataset.open(tmp_path / "steps", task).read([0], ["frame"])["frame"]
    assert frames.shape == (1, 4, 16, 16)


def test_the_commands(folder: Path, tmp_path: Path, capsys) -> None:
    out, back = tmp_path / "lerobot", tmp_path / "back"
    words = ["export-lerobot", str(folder), str(out), "--fps", "20", "--instruction", "reach it"]
    dataset_tools.main(words)
    assert f"LeRobotDataset('me/lerobot', root='{out}') reads it" in capsys.readouterr().out
    assert json.loads((out / "meta" / "info.json").read_text())["fps"] == 20
    dataset_tools.main(["import-lerobot", str(out), "--output", str(back)])
    assert f"--dataset {back} trains on it" in capsys.readouterr().out
    assert content(back) == content(folder)
    words = ["import-lerobot", str(WRITTEN / "image"), "--task", "Reacher", "--fps", str(FPS)]
    dataset_tools.main([*words, "--frame_size", "24x32", "--output", str(tmp_path / "theirs")])
    assert (tmp_path / "theirs" / "manifest.json").is_file()
