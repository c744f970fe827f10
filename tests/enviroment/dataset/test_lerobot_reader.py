"""LeRobot's own code, in an environment of its own, on what is exported: `make test-lerobot`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Common.places import ROOT
from Enviroment.dataset.lerobot.export import export_lerobot
from Enviroment.dataset.lerobot.importing import import_lerobot
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import TASKS
from tests.support.sharing.lerobot_side import CAMERA, FPS, LENGTHS, SIZE, recorded
from tests.support.tiny_dataset import TASK, collect_tiny

PYTHON = os.environ.get("LEROBOT_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="`make test-lerobot` names LeRobot's Python")


def lerobot(*words: str | Path) -> None:
    """Run LeRobot's side."""
    script = ROOT / "tests" / "support" / "sharing" / "lerobot_side.py"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [PYTHON, script, *words], capture_output=True, text=True, env=offline, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("video", [False, True])
def test_lerobot_reads_what_is_exported(tmp_path: Path, video: bool) -> None:
    folder = collect_tiny(tmp_path / "data", 130, behaviour_noise=0.3)
    dataset = TeacherDataset.open(folder, replace(TASK, stack=1))
    out = export_lerobot(dataset, tmp_path / "lerobot", video=video, instruction="reach it")
    lerobot("read", out, tmp_path / "read.npz")
    theirs = np.load(tmp_path / "read.npz", allow_pickle=False)
    ours = dataset.read(np.arange(len(dataset)))
    assert (theirs["fps"], theirs["n_episodes"]) == (50, dataset.n_episodes)
    assert set(theirs["task"]) == {"reach it"}
    frames = np.rint(theirs["observation.images.camera"] * 255).astype(int)  # (T, 3, H, W)
    difference = np.abs(frames - ours["frame"])
    assert difference.mean() <= (2 if video else 0)
    assert difference.max() <= (40 if video else 0)
    for name, column in {
        "observation.environment_state": "state",
        "observation.state": "proprio",
        "action": "action",
        "behaviour_action": "behaviour_action",
        "distribution.mean": "distribution.mean",
        "next.reward": "reward",
        "next.truncated": "truncated",
        "episode_index": "episode",
        "frame_index": "step",
    }.items():
        np.testing.assert_array_equal(theirs[name], ours[column], err_msg=name)
    np.testing.assert_array_equal(theirs["next.done"], ours["terminated"] | ours["truncated"])
    np.testing.assert_allclose(theirs["stats_mean"], ours["action"].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("stored", ["image", "video"])
def test_what_lerobot_writes_is_imported(tmp_path: Path, stored: str) -> None:
    lerobot("write", tmp_path / stored)
    task = replace(TASKS["Reacher"], frame_size=SIZE, grayscale=False, stack=1)
    import_lerobot(tmp_path / stored, task, tmp_path / "steps", fps=FPS)
    dataset = TeacherDataset.open(tmp_path / "steps", task)
    assert dataset.lengths.tolist() == list(LENGTHS)
    batch, wanted = dataset.read(np.arange(len(dataset))), recorded()
    np.testing.assert_array_equal(batch["state"], wanted["observation.state"])
    np.testing.assert_array_equal(batch["action"], wanted["action"])
    difference = np.abs(batch["frame"].astype(int) - wanted[CAMERA].transpose(0, 3, 1, 2))
    assert difference.mean() <= (2 if stored == "video" else 0)
