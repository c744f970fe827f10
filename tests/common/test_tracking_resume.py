"""A record that goes on: no point is lost or doubled, in metrics.jsonl or on W&B."""

from __future__ import annotations

import json
import math
import os

import pytest
import wandb

from Common.errors import UserError
from Common.runs.files import read_metrics
from Common.runs.tracking import RunTracker, write_config
from Common.runs.wandb_run import WandbLabels, WandbMode
from tests.common.test_tracking import wandb_history
from tests.support.faults.killed_child import largest_file, run_child


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    """Makes a tracker of one run folder, without any account of W&B's."""
    for name in list(os.environ):
        # WANDB_SERVICE names W&B's process: brought back afterwards, it would name a dead one.
        if name.startswith("WANDB_") and name != "WANDB_SERVICE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))

    def make(mode: WandbMode = "disabled", position=None):
        return RunTracker(
            tmp_path / "run",
            wandb_mode=mode,
            labels=WandbLabels("run", project="tests"),
            config={},
            position=position,
        )

    return make


def log(tracker, *steps):
    for step in steps:
        tracker.write({"a": step / 10}, {}, step)


def points(*steps):
    return [{"step": step, "a": step / 10} for step in steps]


def add_video(tracker, tmp_path, step):
    path = tmp_path / "run" / "videos" / f"{step}.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"video of %d" % step)
    tracker.video("eval/video", path, step)


def without_videos(history):
    """Rows in their order; of a video only its name."""
    return [row if "a" in row else f"video {row['step']}" for row in history]


# -- metrics.jsonl -------------------------------------------------------------------------------


def test_what_was_logged_after_the_checkpoint_is_cut_off(tracker, tmp_path):
    first = tracker()
    log(first, 1, 2)
    position = json.loads(json.dumps(first.position()))  # as a checkpoint keeps it
    log(first, 3, 4)
    first.close()
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "a')  # killed in the middle of a line
    second = tracker(position=position)
    assert read_metrics(tmp_path / "run") == points(1, 2)
    log(second, 3, 4, 5)
    assert read_metrics(tmp_path / "run") == points(1, 2, 3, 4, 5)


def test_before_the_first_point_everything_is_cut_off(tracker, tmp_path):
    first = tracker()
    position = first.position()
    log(first, 1, 2)
    first.close()
    tracker(position=position).close()
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b""


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_text('{"step": 1}\n')])
def test_a_record_that_is_shorter_than_at_the_checkpoint_is_refused(tracker, tmp_path, damage):
    first = tracker()
    log(first, 1, 2)
    position = first.position()
    first.close()
    damage(tmp_path / "run" / "metrics.jsonl")
    with pytest.raises(UserError, match="does not match the checkpoint"):
        tracker(position=position)


def test_a_record_with_another_line_at_the_checkpoint_is_refused_untouched(tracker, tmp_path):
    first = tracker()
    log(first, 1, 2)
    position = first.position()
    first.close()
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "text": "x" * 100}) + "\n")
    before = path.read_bytes()
    with pytest.raises(UserError, match="Restore it"):
        tracker(position=position)
    assert path.read_bytes() == before


GOOD = {"metrics_bytes": 0, "wandb_id": None, "videos": []}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics_bytes": -1},
        {"metrics_bytes": "0"},
        {"wandb_id": "../../x"},
        {"wandb_id": 3},
        {"wandb_id": "x" * 300},
        {"videos": [{"line": 0, "key": "v", "file": "../../secret", "step": 0}]},
        {"videos": [{"line": 0, "key": "v", "file": "/etc/passwd", "step": 0}]},
        {"videos": [{"line": 0, "key": "v", "file": "a\0b", "step": 0}]},
        {"videos": [{}]},
    ],
)
def test_a_position_that_no_run_wrote_is_refused(tracker, change, tmp_path):
    """Nor could one make a run upload any other file."""
    with pytest.raises(UserError, match="position"):
        tracker(position={**GOOD, **change})
    with pytest.raises(UserError, match="position"):
        tracker(position={})
    assert not (tmp_path / "run").exists()


def test_a_full_disk_stops_the_run_and_leaves_whole_lines(tracker, tmp_path, capfd):
    def write():
        log(tracker(), *range(1, 100))

    assert run_child(write, largest_file(200)) == 1
    error = capfd.readouterr().err
    assert "metrics.jsonl cannot be written: File too large" in error
    path = tmp_path / "run" / "metrics.jsonl"
    assert path.read_bytes().endswith(b"}\n")
    assert read_metrics(tmp_path / "run") == points(*range(1, 10))  # 9 of 22 bytes: 198


def test_a_configuration_on_a_full_disk_is_a_clear_error(tmp_path, capfd):
    def write():
        write_config(tmp_path, {"a": "x" * 500}, teacher_sha256=None, command=["run"])

    assert run_child(write, largest_file(100)) == 1
    assert "config.json cannot be written" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


# -- W&B -----------------------------------------------------------------------------------------


def test_offline_the_newest_file_holds_every_point_once(tracker, tmp_path):
    first = tracker("offline")
    add_video(first, tmp_path, 0)
    log(first, 1, 2)
    add_video(first, tmp_path, 2)
    position = first.position()
    log(first, 3)  # lost: the run is killed before its next checkpoint
    add_video(first, tmp_path, 3)
    first.close()
    second = tracker("offline", position)
    assert second.position() == position
    log(second, 3)
    add_video(second, tmp_path, 3)
    log(second, 4)
    second.close()
    # There is one file only, or the others would be uploaded as well.
    rows = without_videos(wandb_history(tmp_path / "run"))
    assert rows == ["video 0", *points(1, 2), "video 2", *points(3), "video 3", *points(4)]
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert folder.name.split("-")[3] == position["wandb_id"]
    assert len(list(folder.rglob("*.mp4"))) == 3


def test_what_is_not_a_number_stays_so_on_wandb(tracker, tmp_path):
    first = tracker("offline")
    first.write({"a": float("nan")}, {}, 1)
    position = first.position()
    first.close()
    (before,) = wandb_history(tmp_path / "run")
    tracker("offline", position).close()
    (after,) = wandb_history(tmp_path / "run")
    assert after.keys() == before.keys() == {"step", "a"}
    assert math.isnan(before["a"])
    assert math.isnan(after["a"])


class Server:
    """What W&B has of a run online: rows, of which a resumed client is told the number."""

    def __init__(self):
        self.rows, self.ids = [], []

    def init(self, **settings):
        assert settings["resume"] == ("allow" if self.ids else None)
        assert settings["id"] == (self.ids[-1] if self.ids else None)
        self.ids.append("abc")
        return self

    id, url, offline = "abc", "https://example", False

    @property
    def step(self):
        return len(self.rows)

    def log(self, row):
        self.rows.append(f"video {row['step']}" if "eval/video" in row else row)

    def define_metric(self, *args, **kwargs):
        pass

    def finish(self):
        pass


@pytest.mark.parametrize("arrived", range(9))
def test_online_nothing_is_lost_or_doubled(tracker, tmp_path, monkeypatch, arrived):
    """However much of it had arrived when the run was killed."""
    server = Server()
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(wandb, "init", server.init)
    monkeypatch.setattr(wandb, "Video", lambda path, format: path)
    first = tracker("online")
    log(first, 1)
    add_video(first, tmp_path, 1)
    log(first, 2)
    position = first.position()
    log(first, 3)
    add_video(first, tmp_path, 3)
    log(first, 4, 5)
    add_video(first, tmp_path, 5)
    first.close()
    expected = [*points(1), "video 1", *points(2, 3), "video 3", *points(4, 5), "video 5"]
    assert server.rows == expected
    del server.rows[arrived:]

    second = tracker("online", position)
    log(second, 3)
    add_video(second, tmp_path, 3)
    log(second, 4, 5)
    add_video(second, tmp_path, 5)
    log(second, 6)
    second.close()
    assert server.rows == [*expected, *points(6)]
    assert server.ids == ["abc", "abc"]


def test_wandb_gets_the_whole_run_when_it_is_switched_on_later(tracker, tmp_path):
    first = tracker()
    log(first, 1)
    add_video(first, tmp_path, 1)
    position = first.position()
    assert position["wandb_id"] is None
    first.close()
    second = tracker("offline", position)
    log(second, 2)
    second.close()
    assert without_videos(wandb_history(tmp_path / "run")) == [*points(1), "video 1", *points(2)]


def test_switched_off_for_a_while_the_run_on_wandb_is_not_forgotten(tracker):
    first = tracker("offline")
    log(first, 1)
    position = first.position()
    first.close()
    second = tracker("disabled", position)
    log(second, 2)
    assert second.position()["wandb_id"] == position["wandb_id"]


def test_a_video_that_is_gone_costs_only_the_video(tracker, tmp_path):
    first = tracker("offline")
    add_video(first, tmp_path, 0)
    log(first, 1)
    position = first.position()
    first.close()
    (tmp_path / "run" / "videos" / "0.mp4").unlink()
    with pytest.warns(RuntimeWarning, match=r"could not upload 0\.mp4"):
        second = tracker("offline", position)
    log(second, 2)
    second.close()
    assert wandb_history(tmp_path / "run") == points(1, 2)
