"""TensorBoard's files, read back by TensorBoard itself, and its absence."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from Common.errors import UserError
from Common.runs.files import read_metrics
from Common.runs.tensorboard_files import TensorBoardFiles, check_tensorboard
from Common.runs.tracking import RunTracker
from Common.runs.wandb_run import WandbLabels


def make_tracker(folder: Path, position: dict | None = None) -> RunTracker:
    return RunTracker(
        folder,
        wandb_mode="disabled",
        labels=WandbLabels("run"),
        config={},
        tensorboard=True,
        position=position,
    )


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar as TensorBoard shows it: steps and values by key."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(module).EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return {
        key: [(event.step, event.value) for event in reader.Scalars(key)]
        for key in reader.Tags()["scalars"]
    }


def test_it_shows_the_numbers_of_the_record(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracker = make_tracker(tmp_path)
    tracker.write({"train/kl": 0.5, "note": "text", "flag": True}, {}, 100)
    tracker.write({"train/kl": 0.25, "eval/od_return": -30.0}, {}, 200)
    tracker.write({"train/kl": float("nan")}, {}, 300)
    tracker.close()
    tracker.close()
    shown = scalars(tmp_path)
    assert shown["train/kl"][:2] == [(100, 0.5), (200, 0.25)]
    assert shown["train/kl"][2][0] == 300 and math.isnan(shown["train/kl"][2][1])
    assert shown["eval/od_return"] == [(200, -30.0)]
    assert shown["flag"] == [(100, 1.0)]
    assert "note" not in shown
    assert [point["step"] for point in read_metrics(tmp_path)] == [100, 200, 300]


def test_a_resumed_run_has_no_point_twice(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = make_tracker(tmp_path)
    first.write({"a": 1.0}, {}, 1)
    position = first.position()
    first.write({"a": 2.0}, {}, 2)  # after the checkpoint: the run logs it again
    first.close()
    second = make_tracker(tmp_path, position)
    second.write({"a": 3.0}, {}, 2)
    second.close()
    assert scalars(tmp_path) == {"a": [(1, 1.0), (2, 3.0)]}


def test_a_disk_that_fails_costs_a_warning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    files = TensorBoardFiles(tmp_path, [])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files._writer, "add_scalar", full)
    with pytest.warns(RuntimeWarning, match="No space left") as warned:
        files.write({"step": 1, "a": 1.0})
    files.write({"step": 2, "a": 1.0})
    files.close()
    assert len(warned) == 1


def test_without_the_package_there_is_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    with pytest.raises(UserError, match=r"pip install -e '\.\[tensorboard\]'"):
        check_tensorboard()
