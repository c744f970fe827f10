"""Metrics, configuration and W&B. W&B's offline file is read here byte by byte."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from stable_baselines3.common.logger import Logger
from wandb.errors import CommError
from wandb.proto import wandb_internal_pb2

from Common.errors import UserError
from Common.places import ROOT
from Common.runs import tracking
from Common.runs.files import read_metrics
from Common.runs.tracking import RunTracker, package_versions, write_config
from Common.runs.wandb_run import WandbLabels


def make_tracker(
    run_dir: Path, mode: tracking.WandbMode = "disabled", config: dict[str, Any] | None = None
) -> RunTracker:
    return RunTracker(
        run_dir,
        wandb_mode=mode,
        labels=WandbLabels(run_dir.name, project="tests"),
        config=config or {},
    )


TWO_POINTS = [{"step": 1, "a": 1.0}, {"step": 2, "a": 2.0}]


def log_two_points(tracker):
    tracker.write({"a": 1.0}, {}, 1)
    tracker.write({"a": 2.0}, {}, 2)
    tracker.close()


def wandb_records(run_dir: Path) -> list[Any]:
    """The records of an offline run: protobuf in LevelDB's log format, 32 KB blocks."""
    wandb.teardown()  # ends W&B's process, which writes the file's end only after `finish`
    (path,) = run_dir.glob("wandb/offline-run-*/*.wandb")
    data, records, parts, offset = path.read_bytes(), [], [], 7
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:  # the rest of a block
            offset += 32768 - offset % 32768
            continue
        length, kind = struct.unpack("<HB", data[offset + 4 : offset + 7])
        parts.append(data[offset + 7 : offset + 7 + length])
        offset += 7 + length
        if kind in (1, 4):  # complete, or the last part
            records.append(vars(wandb_internal_pb2)["Record"].FromString(b"".join(parts)))
            parts = []
    return records


def wandb_history(run_dir: Path) -> list[dict]:
    """The rows of an offline run."""
    rows = [
        {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
        for record in wandb_records(run_dir)
        if record.HasField("history")
    ]
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]


@pytest.fixture
def _no_wandb_account(monkeypatch, tmp_path):
    for name in list(os.environ):
        # WANDB_SERVICE names W&B's process: brought back afterwards, it would name a dead one.
        if name.startswith("WANDB_") and name != "WANDB_SERVICE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


def test_each_dump_is_a_line(tmp_path):
    logger = Logger(None, [make_tracker(tmp_path)])
    logger.record("train/kl", np.float32(0.5))
    logger.record("train/pg_loss", torch.tensor(-0.25))
    logger.record("time/iterations", 3, exclude="tensorboard")
    logger.dump(1152)
    assert read_metrics(tmp_path) == [  # on disk before the tracker is closed
        {"step": 1152, "train/kl": 0.5, "train/pg_loss": -0.25, "time/iterations": 3}
    ]
    logger.record("train/kl", 0.25)
    logger.dump(2304)
    logger.close()
    assert read_metrics(tmp_path)[1] == {"step": 2304, "train/kl": 0.25}


def test_not_a_number_becomes_null(tmp_path):
    tracker = make_tracker(tmp_path)
    values = {"a": float("nan"), "b": np.float32("inf"), "c": -np.inf, "d": 1.0}
    tracker.write(values, {}, 1)
    tracker.close()

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    line = (tmp_path / "metrics.jsonl").read_text()
    parsed = json.loads(line, parse_constant=refuse)
    assert parsed == {"step": 1, "a": None, "b": None, "c": None, "d": 1.0}


def test_values_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(TypeError, match="'frames' is a list"):
        make_tracker(tmp_path).write({"frames": [1, 2]}, {}, 1)


def test_a_resumed_run_goes_on_after_the_last_whole_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1.0}\n{"step": 2, "a"')
    assert read_metrics(tmp_path) == [{"step": 1, "a": 1.0}]
    tracker = make_tracker(tmp_path)
    tracker.write({"a": 3.0}, {}, 3)
    tracker.close()
    assert path.read_text() == '{"step": 1, "a": 1.0}\n{"step": 3, "a": 3.0}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 1}\nnonsense\n', "line 2, is not JSON"),
        ('{"loss": 1}\n', "line 1, is not a logging point"),
        ("[1]\n", "line 1, is not a logging point"),
    ],
)
def test_a_garbled_metrics_file_is_named(tmp_path, text, message):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        read_metrics(tmp_path)


def test_a_folder_without_metrics_is_no_run(tmp_path):
    with pytest.raises(UserError, match="it is not a run folder"):
        read_metrics(tmp_path)


@pytest.mark.usefixtures("_no_wandb_account")
def test_wandb_offline_gets_the_same_keys_and_a_video(tmp_path):
    run_dir = tmp_path / "run"
    video = tmp_path / "episode.mp4"
    video.write_bytes(b"not decoded by W&B")
    tracker = make_tracker(run_dir, "offline", {"lr": 1e-3, "teacher": Path("Results/Pusher")})
    logger = Logger(None, [tracker])
    for step in (100, 200, 200):  # an evaluation and a rollout may share a step
        logger.record("train/kl", 1.0 / step)
        logger.record("eval/od_return", float("nan") if step == 100 else -30.0)
        logger.record("time/iterations", step // 100, exclude="tensorboard")
        logger.dump(step)
    tracker.video("eval/video", video, 150)  # the past: W&B's own step would drop it
    tracker.close()
    tracker.close()

    *rows, video_row = wandb_history(run_dir)
    points = read_metrics(run_dir)
    assert [row.keys() for row in rows] == [point.keys() for point in points]
    assert [row["train/kl"] for row in rows] == [0.01, 0.005, 0.005]
    assert [row["step"] for row in rows] == [100, 200, 200]
    assert video_row["step"] == 150
    assert "eval/video" in str(video_row)
    (copy,) = run_dir.glob("wandb/offline-run-*/files/media/videos/eval/*.mp4")
    assert copy.read_bytes() == video.read_bytes()
    assert video.exists()


@pytest.mark.usefixtures("_no_wandb_account")
def test_every_row_of_wandb_has_both_x_axes(tmp_path):
    """Of a student that learns from a dataset, whose axis at first is the gradient steps."""
    labels = WandbLabels(
        *("Pusher-BC_phase-run0", "student", "Pusher-BC_phase", ("Pusher", "BC", "x" * 100, "BC")),
        x_axis="time/gradient_steps",
    )
    tracker = RunTracker(tmp_path, wandb_mode="offline", labels=labels, config={})
    video = tmp_path / "episode.mp4"
    video.write_bytes(b"not decoded by W&B")
    tracker.write({"a": 1.0, "time/env_steps": 100, "time/gradient_steps": 5}, {}, 5)
    tracker.video("eval/video", video, 5)
    tracker.write({"b": 2.0}, {}, 6)
    tracker.close()
    records = wandb_records(tmp_path)
    rows = wandb_history(tmp_path)
    assert len(rows) == 3
    for row in rows:
        assert (row["time/env_steps"], row["time/gradient_steps"]) == (100, 5)
    metrics = [record.metric for record in records if record.HasField("metric")]
    assert {m.name for m in metrics} >= {"time/env_steps", "time/gradient_steps", "step"}
    assert {m.glob_name: m.step_metric for m in metrics if m.glob_name} == {
        "*": "time/gradient_steps"
    }
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_group) == ("vision-distillation", "Pusher-BC_phase")
    assert (run.display_name, run.job_type) == ("Pusher-BC_phase-run0", "student")
    assert sorted(run.tags) == ["BC", "Pusher", "x" * 64]


@pytest.mark.usefixtures("_no_wandb_account")
def test_no_secret_and_no_code_in_the_run_folder(tmp_path):
    run_dir = tmp_path / "run"
    script = tmp_path / "script_with_code.py"
    script.write_text(
        textwrap.dedent(f"""
        import pathlib
        from Common.runs.tracking import RunTracker
        from Common.runs.wandb_run import WandbLabels
        run_dir = pathlib.Path({str(run_dir)!r})
        tracker = RunTracker(
            run_dir, wandb_mode="offline", labels=WandbLabels("n", project="p"), config={{}}
        )
        tracker.write({{"a": 1.0}}, {{}}, 1)
        print("printed-secret")
        tracker.close()
        """)
    )
    environment = os.environ | {
        "WANDB_API_KEY": "5ec2e7" * 6 + "abcd",
        "CLOUD_TOKEN": "environment-secret",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(script), "--password=argument-secret"]
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=tmp_path)

    files = [path for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".wandb" for path in files)
    secrets = ["5ec2e7", "environment-secret", "argument-secret", "printed-secret"]
    for path in files:
        for secret in [*secrets, "script_with_code", "import pathlib"]:
            assert secret.encode() not in path.read_bytes(), f"{secret} is in {path}"
    assert not list(run_dir.rglob("*.py"))
    assert not list(run_dir.rglob("wandb-metadata.json"))
    assert not list(run_dir.rglob("*.patch"))


@pytest.mark.usefixtures("_no_wandb_account")
def test_online_without_a_key_warns_once_and_goes_on_offline(tmp_path):
    with pytest.warns(RuntimeWarning, match="no API key") as warned:
        tracker = make_tracker(tmp_path, "online")
    log_two_points(tracker)
    assert len([w for w in warned if w.category is RuntimeWarning]) == 1
    assert tracker.url is None
    assert wandb_history(tmp_path) == TWO_POINTS


@pytest.mark.usefixtures("_no_wandb_account")
def test_online_without_a_network_warns_once_and_goes_on_offline(tmp_path, monkeypatch):
    init = wandb.init

    def unreachable(**kwargs):
        if kwargs["mode"] == "online":
            raise CommError("no such host\nand advice on several lines")
        return init(**kwargs)

    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(wandb, "init", unreachable)
    with pytest.warns(RuntimeWarning, match=r"online \(no such host\)") as warned:
        tracker = make_tracker(tmp_path, "online")
    log_two_points(tracker)
    assert len([w for w in warned if w.category is RuntimeWarning]) == 1
    assert wandb_history(tmp_path) == TWO_POINTS


@pytest.mark.usefixtures("_no_wandb_account")
def test_a_wandb_that_dies_warns_once_and_the_metrics_go_on(tmp_path, monkeypatch):
    tracker = make_tracker(tmp_path, "offline")
    assert tracker._wandb is not None

    def dead(*args, **kwargs):
        raise BrokenPipeError("the service is gone")

    run = tracker._wandb
    monkeypatch.setattr(run, "log", dead)
    with pytest.warns(RuntimeWarning, match="the service is gone") as warned:
        log_two_points(tracker)
    assert len(warned) == 1
    assert read_metrics(tmp_path) == TWO_POINTS
    run.finish()


@pytest.mark.usefixtures("_no_wandb_account")
def test_a_video_that_cannot_be_read_costs_only_the_video(tmp_path):
    tracker = make_tracker(tmp_path, "offline")
    with pytest.warns(RuntimeWarning, match=r"could not upload missing\.mp4"):
        tracker.video("eval/video", tmp_path / "missing.mp4", 1)
    tracker.write({"a": 1.0}, {}, 1)
    tracker.close()
    assert wandb_history(tmp_path) == [{"step": 1, "a": 1.0}]


def test_disabled_writes_metrics_only(tmp_path):
    tracker = make_tracker(tmp_path)
    tracker.write({"a": 1.0}, {}, 1)
    tracker.video("eval/video", tmp_path / "no.mp4", 1)
    tracker.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@dataclasses.dataclass(frozen=True)
class Config:
    teacher: Path
    frame_size: tuple[int, int]
    lr: float


def test_config_holds_what_it_takes_to_repeat_a_run(tmp_path):
    config = dataclasses.asdict(Config(Path("Results/Pusher"), (64, 128), 3e-4))
    command = ["Distillation/Pusher.py", "--output", "my run"]
    path = write_config(tmp_path / "run", config, teacher_sha256="ab" * 32, command=command)
    assert path == tmp_path / "run" / "config.json"
    description = json.loads(path.read_text())
    assert description["config"] == {
        "teacher": "Results/Pusher",
        "frame_size": [64, 128],
        "lr": 3e-4,
    }
    assert description["command"] == "Distillation/Pusher.py --output 'my run'"
    assert description["teacher_sha256"] == "ab" * 32
    # Wheels of the package index have no "+cu124" in their name.
    version, expected = (
        v.split("+")[0] for v in (description["versions"]["torch"], torch.__version__)
    )
    assert version == expected
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]


def test_git_sha_is_that_of_the_checkout(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    monkeypatch.setattr(tracking, "__file__", str(tmp_path / "tracking.py"))
    path = write_config(tmp_path / "run", {}, teacher_sha256=None, command=["x"])
    assert "git_sha" not in json.loads(path.read_text())  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    path = write_config(tmp_path / "run", {}, teacher_sha256=None, command=["x"])
    sha = json.loads(path.read_text())["git_sha"]
    shown = subprocess.run([*git, "log", "--format=%H"], capture_output=True, text=True, check=True)
    assert sha == shown.stdout.strip()


def test_config_without_git_or_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(tracking, "__file__", str(tmp_path / "tracking.py"))
    path = write_config(tmp_path, {}, teacher_sha256=None, command=["x"])
    assert "git_sha" not in json.loads(path.read_text())
    monkeypatch.setenv("PATH", str(tmp_path))
    path = write_config(tmp_path, {}, teacher_sha256=None, command=["x"])
    assert "git_sha" not in json.loads(path.read_text())


def test_config_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a function"):
        write_config(tmp_path, {"lr": lambda p: p}, teacher_sha256=None, command=["x"])
    assert not list(tmp_path.iterdir())


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(tracking, "PACKAGES", ("numpy", "no-such-package-here"))
    assert package_versions().keys() == {"python", "numpy"}
    assert package_versions()["numpy"] == np.__version__


def test_a_client_of_wandb_that_cannot_start_costs_a_warning_only(tmp_path, monkeypatch):
    def dead(**_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(wandb, "init", dead)
    with pytest.warns(RuntimeWarning, match=r"W&B could not be started \(FileNotFoundError"):
        tracker = make_tracker(tmp_path, "offline")
    log_two_points(tracker)
    assert read_metrics(tmp_path) == TWO_POINTS
