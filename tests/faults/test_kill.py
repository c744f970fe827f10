"""Runs that are stopped, killed or out of disk, and go on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from Common.places import ROOT
from Distillation.command import main
from Enviroment.dataset import collect as collection
from tests.support.faults.killed_run import FULL_DISK, SHARD_BYTES
from tests.support.short_for import short_for
from tests.support.short_run import outcome
from tests.support.tiny_dataset import content

Flags = Callable[[str, Path], list[str]]

# The first episode of one of the staggered environments ends after 100 env steps of both.
ROLLOUTS = ("--total_timesteps", "144", "--eval_every", "64", "--checkpoint_every", "40")
BATCHES = ("--batch_size", "16", "--eval_every", "20", "--checkpoint_every", "15")
METHODS = {
    "PPD": (*ROLLOUTS, "--mode", "ImpaalaSmall", "--num_steps", "8"),
    "PPO": (*ROLLOUTS, "--num_steps", "8"),
    "Sdistillation": ROLLOUTS,
    "Tdistillation": (*ROLLOUTS, "--mode", "ImpaalaSmall"),
    "BC_phase": (*BATCHES, "--mode", "ImpaalaSmall", "--optimization_steps", "40"),
    "Dagger_phase": (
        *(*BATCHES, "--mode", "ImpaalaSmall", "--optimization_steps", "10", "--alpha", "0.6"),
        *("--rounds", "2", "--round_env_steps", "60", "--round_gradient_steps", "10"),
    ),
    "C_data": ("--num_data", "300", "--frame_size", "16x16", "--threads", "1"),
}
CLONING = ("BC_phase", "Dagger_phase")
# About as many steps and writes as such a run has; the others have 1100 to 1300.
N_MOMENTS = {"C_data": 340, "BC_phase": 860}


@pytest.fixture(autouse=True, scope="module")
def _small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", SHARD_BYTES)
        yield


@pytest.fixture(scope="module")
def flags(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Flags:
    """The flags of a method's run in a folder. Those that clone have a dataset, made when asked."""
    dataset = tmp_path_factory.mktemp("data") / "set"

    def get(method: str, folder: Path) -> list[str]:
        where = [f"--{method}", "--teacher", str(teacher), "--output", str(folder)]
        if method in CLONING:
            if not dataset.exists():
                main("Pusher", get("C_data", dataset))
            where += ["--dataset", str(dataset)]
        if method != "C_data":
            where += ["--wandb", "disabled", *short_for(f"--{method}")]
        return [*where, *METHODS[method]]

    return get


def result(method: str, folder: Path) -> object:
    """All that a run and its continuation must have in common with one that never stopped."""
    return content(folder) if method == "C_data" else outcome(folder)


def run_in_child(fault: str, k: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The run, with the fault at its k-th step or write."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.faults.killed_run", fault, str(k), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def uninterrupted(flags: Flags, tmp_path_factory: pytest.TempPathFactory):
    """The result of each method's run, made when it is asked for."""
    results = {}

    def get(method: str) -> object:
        if method not in results:
            folder = tmp_path_factory.mktemp("whole") / "run"
            main("Pusher", flags(method, folder))
            results[method] = result(method, folder)
        return results[method]

    return get


@pytest.fixture
def check_full_disk(flags: Flags, uninterrupted: Callable[[str], object]):
    def check(method: str, k: int, folder: Path) -> None:
        child = run_in_child(FULL_DISK, k, flags(method, folder))
        assert child.returncode in (0, 2), child.stderr  # 0: only the curves were missing
        assert "cannot be written: File too large" in child.stderr
        assert "Traceback" not in child.stderr
        main("Pusher", [*flags(method, folder), "--resume"])
        assert result(method, folder) == uninterrupted(method)

    return check


@pytest.fixture
def check_killed_run_goes_on(flags: Flags, uninterrupted: Callable[[str], object]):
    def check(method: str, k: int, folder: Path) -> None:
        child = run_in_child("SIGKILL", k, flags(method, folder))
        assert child.returncode in (-signal.SIGKILL, 0), child.stderr
        main("Pusher", [*flags(method, folder), "--resume"])
        assert result(method, folder) == uninterrupted(method)

    return check


@pytest.mark.parametrize(
    ("method", "k"),
    [pytest.param("PPD", 2, marks=pytest.mark.slow), ("PPD", 700), ("C_data", 207)],
)
def test_a_run_that_is_killed_goes_on_to_the_bit(method, k, tmp_path, check_killed_run_goes_on):
    """Before anything is written, and in the middle."""
    check_killed_run_goes_on(method, k, tmp_path / "run")


def test_a_disk_that_is_full_stops_a_run_that_then_goes_on(tmp_path, check_full_disk):
    check_full_disk("PPD", 700, tmp_path / "run")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", ["PPD", "BC_phase", "Dagger_phase", "C_data"])
def test_disks_that_are_full_at_five_moments(method, tmp_path, check_full_disk):
    for k in random.Random(method).sample(range(1, N_MOMENTS.get(method, 1_100)), 5):
        check_full_disk(method, k, tmp_path / str(k))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_of_each_method(method, tmp_path, check_killed_run_goes_on):
    n_moments = N_MOMENTS.get(method, 1_100)
    for k in random.Random(method).sample(range(1, n_moments), 20):
        check_killed_run_goes_on(method, k, tmp_path / str(k))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_again_and_again(flags, tmp_path, uninterrupted):
    """It gets on a little each time."""
    arguments = flags("PPD", tmp_path / "run")
    generator = random.Random(0)
    codes = [-signal.SIGKILL]
    while codes[-1] != 0:
        k = generator.randrange(100, 600)
        codes.append(run_in_child("SIGKILL", k, [*arguments, "--resume"]).returncode)
        assert codes[-1] in (-signal.SIGKILL, 0)
        assert len(codes) < 50
    assert len(codes) > 3
    assert outcome(tmp_path / "run") == uninterrupted("PPD")


@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 143), pytest.param("SIGINT", 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_run_in_order(name, code, flags, tmp_path, uninterrupted):
    arguments = flags("PPD", tmp_path / "run")
    child = run_in_child(name, 700, arguments)
    assert child.returncode == code, child.stderr
    assert "Continue with the same command and --resume" in child.stderr
    assert "Traceback" not in child.stderr
    main("Pusher", [*arguments, "--resume"])
    assert outcome(tmp_path / "run") == uninterrupted("PPD")


def test_a_second_signal_ends_it_at_once(flags, tmp_path):
    arguments = flags("PPD", tmp_path / "run")
    child = run_in_child("SIGTERM,SIGTERM", 700, arguments)
    assert child.returncode == -signal.SIGTERM
    assert "A second signal stops it at once" in child.stderr
    assert "same command and --resume" not in child.stderr
