"""Whole sweeps: two short runs of Pusher, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from Common.commands.jobs import LocalWorkers
from Common.files.locks import locked
from Common.places import ROOT
from Distillation.sweeps.command import main

FLAGS = {
    "total_timesteps": 24,
    "num_envs": 2,
    "num_steps": 4,
    "batch_size": 4,
    "frame_size": "16x16",
    "eval_every": 1000,
    "eval_episodes": 2,
    "final_episodes": 2,
    "device": "cpu",
    "video": False,
    "wandb": "disabled",
}
SCRIPT = ROOT / "Distillation/sweep.py"


@pytest.fixture
def grid_file(teacher: Path, tmp_path: Path) -> Path:
    """Two runs, into `out`."""
    path = tmp_path / "g.yaml"
    content = {
        "tasks": "Pusher",
        "methods": ["PPD", "PPO"],
        "modes": "State",
        "teachers": {"t": str(teacher)},
        "output": str(tmp_path / "out"),
        "flags": FLAGS,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


@pytest.mark.slow
def test_a_sweep_of_two_runs_and_the_same_again(grid_file, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").mkdir()
    assert run(grid_file, "--jobs", 1) == 0
    told = capsys.readouterr().out
    for method in ("PPD", "PPO"):
        folder = tmp_path / f"out/Pusher/{method}/State_t_run0"
        assert "return" in json.loads((folder / "evaluation.json").read_text())
        assert f"started  Pusher/{method}/State_t_run0\n" in told
        config = json.loads((folder / "config.json").read_text())["config"]
        assert (config["method"], config["run"]["threads"]) == (method, 1)
        assert folder.with_name("State_t_run0.log").read_text().startswith("$ ")
    assert "2 runs: 2 done" in told
    assert f"python -m Evaluation.table {tmp_path}/out" in told
    assert (tmp_path / "out/grid.yaml").read_bytes() == grid_file.read_bytes()

    def refuse(*args: object) -> None:
        raise AssertionError("it was started again")

    monkeypatch.setattr(LocalWorkers, "start", refuse)
    assert run(grid_file) == 0
    assert "2 runs: 2 done before" in capsys.readouterr().out


def test_failures_are_listed_with_their_logs_and_the_exit_code_is_1(grid_file, tmp_path, capsys):
    flags = {**FLAGS, "device": "cuda:77"}
    content = {**yaml.safe_load(grid_file.read_text()), "methods": "PPO", "flags": flags}
    grid_file.write_text(yaml.safe_dump(content))
    assert run(grid_file, "--set", "retries=0") == 1
    told = capsys.readouterr().out
    log = tmp_path / "out/Pusher/PPO/State_t_run0.log"
    assert "1 failed" in told
    assert "Pusher/PPO/State_t_run0: exit code 2: " in told
    assert f"  log {log}\n" in told
    assert "cuda" in log.read_text()


def test_one_driver_a_folder(grid_file, tmp_path, capsys):
    with locked(tmp_path / "out"):
        assert run(grid_file) == 2
    assert f"{tmp_path}/out is being written by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_stops_the_runs_in_order_and_the_same_command_goes_on(grid_file, tmp_path):
    command = [sys.executable, str(SCRIPT), str(grid_file), "--jobs", "1"]
    command += ["--set", "methods=PPO", "total_timesteps=400"]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "out/Pusher/PPO/State_t_run0"
    checkpoints = folder / "checkpoints"
    while driver.poll() is None and not list(checkpoints.glob("step_*")):
        with suppress(subprocess.TimeoutExpired):
            driver.wait(0.1)
    driver.send_signal(signal.SIGINT)
    _, told = driver.communicate(timeout=120)
    assert driver.returncode == 130, told
    assert "Continue with the same command." in told
    log = folder.with_name("State_t_run0.log").read_text()
    assert "Stopped by SIGTERM. Continue with the same command and --resume." in log
    assert not (folder / "evaluation.json").exists()
    assert any(checkpoints.glob("step_*"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert (folder / "evaluation.json").exists()
    assert f"Resuming from {checkpoints}" in folder.with_name("State_t_run0.log").read_text()
