"""A teacher's training that is stopped or killed goes on; its record has every point once."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest

from Common.files.locks import locked
from Common.runs.files import read_metrics
from Models.teacher.policy import Teacher
from tests.common.test_tracking import wandb_history
from tests.support.faults.killed_child import kill_at_write, largest_file, run_child
from tests.train_teacher.test_train_teacher import exit_code, flags
from Train_Teacher.callbacks import EvaluateAndCheckpoint
from Train_Teacher.command import main

TOTAL = 600
N_WRITES = 150  # about as many as such a run has


def check_whole(algo: str, folder: Path) -> None:
    """The run is finished, and no point is lost or doubled."""
    points = read_metrics(folder)
    assert [p["step"] for p in points if "eval/return" in p] == [0, 200, 400, 600]
    if algo == "ppo":  # SB3 logs every rollout of 100 steps, and later the update that it led to
        assert [p["step"] for p in points if "time/fps" in p] == [*range(100, 601, 100)]
        assert sum("train/loss" in p for p in points) == 6
    assert "final/evaluation_return" in points[-1]
    Teacher.load(folder / "teacher")
    left = [path.name for path in (folder / "checkpoints").iterdir()]
    assert all(name.startswith(("step_", "best", "finished")) for name in left)


def stop_at(patch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Sends the signal in that env step."""
    on_step = EvaluateAndCheckpoint._on_step

    def stop(callback: EvaluateAndCheckpoint) -> bool:
        if callback.num_timesteps == step:
            os.kill(os.getpid(), number)
        return on_step(callback)

    patch.setattr(EvaluateAndCheckpoint, "_on_step", stop)


@pytest.mark.parametrize(
    ("algo", "number", "code", "saved"),
    [("ppo", signal.SIGTERM, 143, 300), ("sac", signal.SIGINT, 130, 250)],
)
def test_a_signal_ends_the_training_in_order(
    algo, number, code, saved, tmp_path, monkeypatch, capsys
):
    """PPO after the rollout and its update, SAC after the step."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 250, number)
        assert exit_code("Pusher", flags(algo, TOTAL, folder)) == code
    said = capsys.readouterr().err
    assert f"Stopped by {number.name}. Continue with the same command and --resume." in said
    newest = max((folder / "checkpoints").glob("step_*"))
    assert newest.name == f"step_{saved:012d}"
    main("Pusher", flags(algo, TOTAL, folder, "--resume"))
    check_whole(algo, folder)


def check_killed_run_goes_on(algo: str, k: int, folder: Path) -> None:
    arguments = flags(algo, TOTAL, folder)
    code = run_child(lambda: main("Pusher", arguments), kill_at_write(k))
    assert code in (-signal.SIGKILL, 0)
    main("Pusher", [*arguments, "--resume"])
    check_whole(algo, folder)


@pytest.mark.parametrize("k", [3, 110])
def test_a_run_that_is_killed_goes_on(k, tmp_path):
    """Before its configuration is whole, and between two checkpoints."""
    check_killed_run_goes_on("ppo", k, tmp_path / "run")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_twenty_kills_of_each_algorithm(algo, tmp_path):
    for k in random.Random(algo).sample(range(1, N_WRITES), 20):
        check_killed_run_goes_on(algo, k, tmp_path / str(k))


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_a_full_disk_stops_the_training_and_the_older_checkpoints_stay(algo, tmp_path, capfd):
    folder = tmp_path / "run"

    def fill_the_disk() -> None:
        on_step, limit = EvaluateAndCheckpoint._on_step, largest_file(100_000)

        def step(callback: EvaluateAndCheckpoint) -> bool:
            if callback.num_timesteps == 250:
                limit()
            return on_step(callback)

        setattr(EvaluateAndCheckpoint, "_on_step", step)  # noqa: B010 (pyright)

    assert run_child(lambda: main("Pusher", flags(algo, TOTAL, folder)), fill_the_disk) == 1
    said = capfd.readouterr().err
    assert "cannot be written: File too large" in said
    assert "--resume" in said and "SystemExit(2)" in said
    main("Pusher", flags(algo, TOTAL, folder, "--resume"))
    check_whole(algo, folder)


def test_wandb_has_every_point_once(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    arguments = flags("ppo", TOTAL, folder)
    arguments[arguments.index("disabled")] = "offline"
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    with monkeypatch.context() as patch:
        stop_at(patch, 450, signal.SIGTERM)
        assert exit_code("Pusher", arguments) == 143
    main("Pusher", [*arguments, "--resume"])
    rows, points = wandb_history(folder), read_metrics(folder)
    assert [row["step"] for row in rows] == [point["step"] for point in points]
    check_whole("ppo", folder)


def test_a_resume_without_a_run_begins_one(tmp_path, capsys):
    folder = tmp_path / "run"
    main("Pusher", flags("ppo", TOTAL, folder, "--resume"))
    assert "has no checkpoint: it starts from the beginning" in capsys.readouterr().err
    check_whole("ppo", folder)


def test_two_processes_cannot_write_one_run(tmp_path, capsys):
    folder = tmp_path / "run"
    with locked(folder):
        assert exit_code("Pusher", flags("ppo", TOTAL, folder)) == 2
    assert f"is being written by process {os.getpid()} on" in capsys.readouterr().err


def test_without_a_checkpoint_that_can_be_used_nothing_is_deleted(tmp_path, capsys):
    folder = tmp_path / "run"
    main("Pusher", flags("ppo", 200, folder))
    for path in (folder / "checkpoints").glob("step_*/agent.safetensors"):
        path.write_bytes(b"")
    before = sorted(folder.rglob("*"))
    assert exit_code("Pusher", flags("ppo", 200, folder, "--resume")) == 2
    said = capsys.readouterr().err
    assert said.count("is damaged: agent.safetensors") == 2
    assert "Every checkpoint in" in said and "--overwrite" in said
    assert sorted(folder.rglob("*")) == before
    assert json.loads((folder / "config.json").read_text())
