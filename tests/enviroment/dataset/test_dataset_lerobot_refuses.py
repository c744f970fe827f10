"""What import and export of LeRobot's datasets refuse, and what they say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from Common.errors import UserError
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset.lerobot.export import export_lerobot
from Enviroment.dataset.lerobot.importing import import_lerobot, recorded_columns
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import TASKS
from tests.support.refusal import refusal
from tests.support.sharing.lerobot_side import FPS, SIZE
from tests.support.tiny_dataset import TASK, collect_tiny

WRITTEN = Path(__file__).parents[2] / "support" / "sharing" / "lerobot_written"
REACHER = replace(TASKS["Reacher"], frame_size=SIZE, grayscale=False)


@pytest.fixture(autouse=True)
def _needs_pyarrow() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is optional")


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Path]:
    """Copy a dataset of LeRobot, with changes of its `info.json`."""

    def make(stored: str = "image", **changes: object) -> Path:
        folder = tmp_path / "theirs"
        shutil.copytree(WRITTEN / stored, folder)
        path = folder / "meta" / "info.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return folder

    return make


def refused(folder: Path, match: str, **arguments) -> None:
    with pytest.raises(UserError, match=match):
        import_lerobot(folder, REACHER, folder.parent / "out", **{"fps": FPS, **arguments})
    assert not (folder.parent / "out" / "manifest.json").exists()


def without(folder: Path, *columns: str) -> Path:
    """Remove features and their columns."""
    import pyarrow.parquet as pq

    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    info["features"] = {n: f for n, f in info["features"].items() if n not in columns}
    path.write_text(json.dumps(info))
    data = folder / "data" / "chunk-000" / "file-000.parquet"
    pq.write_table(pq.read_table(data).drop_columns(list(columns)), data)
    return folder


def test_without_pyarrow_the_command_that_installs_it(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = ["import-lerobot", str(WRITTEN / "image"), "--task", "Reacher"]
    said = refusal(capsys, lambda: dataset_tools.main([*words, "--output", str(tmp_path / "x")]))
    assert "LeRobot's datasets need pyarrow: pip install pyarrow." in said


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    refused(tmp_path / "none", "is not a dataset of LeRobot: it has no meta/info.json")


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_an_older_version(copy, version: str) -> None:
    said = f"has version '{version}' of LeRobot's format, and this reads v3.0.*convert_dataset"
    refused(copy(codebase_version=version), said)


def test_another_rate(copy) -> None:
    folder = copy()
    said = (
        "has 20 frames per second, but Reacher has 50 steps per second: .*another speed.*`fps` 20"
    )
    refused(folder, said, fps=None)
    refused(folder, "`fps` 50 is not the 20", fps=50)
    words = ["import-lerobot", str(folder), "--task", "Reacher", "--output", str(folder) + "_out"]
    with pytest.raises(SystemExit) as ended:
        dataset_tools.main(words)
    assert ended.value.code == 2


def test_times_that_are_not_those_of_the_rate(copy) -> None:
    refused(copy(fps=10), r"episode 0: step 1 is not at 0\.1 s, which the 10 frames", fps=10)


def test_no_state(copy) -> None:
    folder = without(copy(), "observation.state")
    refused(folder, r"has no observation.state and no .*, only .*: Reacher needs a state")


def test_no_action_and_no_pictures(copy) -> None:
    folder = without(copy(), "action")
    refused(folder, "has no action, only")
    refused(without(folder, "observation.images.top"), "has no action|has no pictures")
    with pytest.raises(UserError, match="has no pictures, only"):
        recorded_columns(folder, None, lambda picture: picture)


def test_a_camera_that_is_not_there(copy) -> None:
    refused(copy(), "`camera` 'tap' is not in .* Is it top", camera="tap")


def test_a_state_of_another_size(copy) -> None:
    folder = copy()
    pusher = replace(TASKS["Pusher"], frame_size=SIZE, grayscale=False)
    with pytest.raises(UserError, match=r"action has the shape \(2,\), but that of Pusher is \(7,"):
        import_lerobot(folder, pusher, folder.parent / "out")
    swimmer = replace(pusher, name="Swimmer", env_id="Swimmer-v5", proprio=())
    said = r"observation.state has the shape \(10,\), but that of Swimmer is \(8,\)"
    with pytest.raises(UserError, match=said):
        import_lerobot(folder, swimmer, folder.parent / "out", fps=FPS)


def test_no_task(copy, capsys) -> None:
    words = ["import-lerobot", str(copy()), "--output", "x"]
    said = refusal(capsys, lambda: dataset_tools.main(words))
    assert "was not exported by this toolkit, so its task is unknown. Give --task" in said


def test_files_that_are_missing_or_cut(copy) -> None:
    folder = copy("video")
    film = folder / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
    content = film.read_bytes()
    film.write_bytes(content[: len(content) // 2])
    refused(folder, "episode 0: .*cannot be read as a video|episode 0: .*video of")
    film.unlink()
    refused(folder, "episode 0: .*file-000.mp4 is missing")
    data = folder / "data" / "chunk-000" / "file-000.parquet"
    data.write_bytes(data.read_bytes()[:-20])
    refused(folder, "episode 0: .*The dataset is damaged or incomplete")
    data.unlink()
    refused(folder, "episode 0: ")
    shutil.rmtree(folder / "meta" / "episodes")
    refused(folder, "meta/episodes: there is no file")


def test_counts_and_sizes_that_do_not_add_up(copy) -> None:
    refused(copy(total_frames=17), r"has 16 steps of 3 episodes, but meta/info.json says 17 of 3")


def test_pictures_of_another_size(copy) -> None:
    folder = copy()
    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    info["features"]["observation.images.top"]["shape"] = [25, 32, 3]
    path.write_text(json.dumps(info))
    refused(folder, "episode 0: a picture is 24x32, not 25x32")


@pytest.mark.parametrize(
    "changes",
    [
        {"data_path": "../{chunk_index}/{file_index}.parquet"},
        {"data_path": "{chunk_index.__class__}"},
        {"total_frames": 10**12},
        {"fps": 0},
        {"fps": "20"},
        {"features": {"../x": {"dtype": "float32", "shape": [1]}}},
        {"features": {"x": {"dtype": "image", "shape": [100_000, 100_000, 3]}}},
        {"features": {"x": {"dtype": "float32", "shape": [-1]}}},
        {"features": 3},
    ],
)
def test_a_description_that_is_not_valid(copy, changes: dict) -> None:
    refused(copy(**changes), "info.json is not valid")


def test_an_export_that_cannot_be(tmp_path: Path) -> None:
    folder = collect_tiny(tmp_path / "data", 20, task=replace(TASK, frame_size=(17, 24)))
    dataset = TeacherDataset.open(folder, replace(TASK, frame_size=(17, 24)))
    with pytest.raises(UserError, match="17x24 have an odd side"):
        export_lerobot(dataset, tmp_path / "out", video=True)
    with pytest.raises(UserError, match="`fps` 0 must be from 1"):
        export_lerobot(dataset, tmp_path / "out", fps=0)
    with pytest.raises(UserError, match="exists already"):
        export_lerobot(dataset, tmp_path)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_steps_of_seconds_have_no_rate_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "ours"))
    monkeypatch.setattr("Enviroment.dataset.lerobot.export.steps_per_second", lambda task: 0.4)
    with pytest.raises(UserError, match=r"A step of .* takes seconds, but .* Give `fps`"):
        export_lerobot(dataset, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
