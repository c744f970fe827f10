"""Runs that are stopped or killed in a process of their own, and go on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from Distillation.run import main
from tests.short_run import SHORT, outcome

ROOT = Path(__file__).parents[2]
METHODS = {
    "PPD": ("--PPD", "--mode", "ImpaalaSmall", "--num_steps", "8"),
    "PPO": ("--PPO", "--num_steps", "8"),
    "Sdistillation": ("--Sdistillation",),
    "Tdistillation": ("--Tdistillation", "--mode", "ImpaalaSmall"),
}
# The first episode of one of the staggered environments ends after 100 env steps of both.
LENGTH = ("--total_timesteps", "144", "--eval_every", "64", "--checkpoint_every", "40")
N_MOMENTS = 1_000  # about as many steps and writes as such a run has


def flags(method: str, teacher: Path, folder: Path) -> list[str]:
    where = ["--teacher", str(teacher), "--output", str(folder), "--wandb", "disabled"]
    return [*where, *SHORT, *LENGTH, *METHODS[method]]


def run_in_child(signals: str, k: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The run, with the signals at its k-th step or write."""
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.killed_run", signals, str(k), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def uninterrupted(teacher: Path, tmp_path_factory: pytest.TempPathFactory):
    """The outcome of each method's run, made when it is asked for."""
    outcomes = {}

    def get(method: str) -> tuple:
        if method not in outcomes:
            folder = tmp_path_factory.mktemp("whole") / "run"
            main("Pusher", flags(method, teacher, folder))
            outcomes[method] = outcome(folder)
        return outcomes[method]

    return get


def check_killed_run_goes_on(method, k, teacher, folder, uninterrupted):
    child = run_in_child("SIGKILL", k, flags(method, teacher, folder))
    assert child.returncode in (-signal.SIGKILL, 0), child.stderr
    main("Pusher", [*flags(method, teacher, folder), "--resume"])
    assert outcome(folder) == uninterrupted(method)


@pytest.mark.parametrize("k", [2, 700])
def test_a_run_that_is_killed_goes_on_to_the_bit(k, teacher, tmp_path, uninterrupted):
    """Before anything is written, and in the middle."""
    check_killed_run_goes_on("PPD", k, teacher, tmp_path / "run", uninterrupted)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_of_each_method(method, teacher, tmp_path, uninterrupted):
    moments = random.Random(method).sample(range(1, N_MOMENTS), 20)
    for k in moments:
        check_killed_run_goes_on(method, k, teacher, tmp_path / str(k), uninterrupted)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_again_and_again(teacher, tmp_path, uninterrupted):
    """It gets on a little each time."""
    arguments = flags("PPD", teacher, tmp_path / "run")
    generator = random.Random(0)
    codes = [-signal.SIGKILL]
    while codes[-1] != 0:
        k = generator.randrange(100, 600)
        codes.append(run_in_child("SIGKILL", k, [*arguments, "--resume"]).returncode)
        assert codes[-1] in (-signal.SIGKILL, 0)
        assert len(codes) < 50
    assert len(codes) > 3
    assert outcome(tmp_path / "run") == uninterrupted("PPD")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_run_in_order(name, code, teacher, tmp_path, uninterrupted):
    arguments = flags("PPD", teacher, tmp_path / "run")
    child = run_in_child(name, 700, arguments)
    assert child.returncode == code, child.stderr
    assert "The same command with --resume goes on" in child.stderr
    assert "Traceback" not in child.stderr
    main("Pusher", [*arguments, "--resume"])
    assert outcome(tmp_path / "run") == uninterrupted("PPD")


def test_a_second_signal_ends_it_at_once(teacher, tmp_path):
    arguments = flags("PPD", teacher, tmp_path / "run")
    child = run_in_child("SIGTERM,SIGTERM", 700, arguments)
    assert child.returncode == -signal.SIGTERM
    assert "A second signal stops it at once" in child.stderr
    assert "--resume goes on" not in child.stderr
