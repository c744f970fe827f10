"""One run on several ranks learns what one process with all environments does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import Algorithm.distributed
import Distillation.flags.ranks
from Algorithm.distributed import average_gradients, gather, of_all_ranks, share_of
from Algorithm.on_policy.joint_statistics import joint_moments
from Common.errors import UserError
from Common.places import ROOT
from Common.runs.files import read_metrics
from Distillation.flags.groups import MethodFlags, RunFlags, TrainingFlags
from Distillation.flags.ranks import flags_of_rank
from Distillation.flags.resolve import Flags
from Enviroment.make import make_env
from tests.support import rank_training
from tests.support.short_run import SHORT, failure, outcome

HANGS = 300  # seconds, after which ranks that wait for each other count as hung


def torchrun(*program: str, n_ranks: int = 2) -> subprocess.CompletedProcess[str]:
    where = ["--standalone", "--nproc_per_node", str(n_ranks)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *where, *program],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


# -- the same training ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was learned by one process, by rank 0 of two and by rank 1 of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    rank_training.main(one)
    done = torchrun("-m", "tests.support.rank_training", str(two))
    assert done.returncode == 0, done.stderr
    files = [one / "rank_0.json", two / "rank_0.json", two / "rank_1.json"]
    return [json.loads(path.read_text()) for path in files]


@pytest.mark.parametrize("case", rank_training.CASES)
def test_two_ranks_learn_what_one_process_does(case: str, trainings: list[dict]) -> None:
    """In float64: every gradient, the weights, the metrics and the reward's statistics."""
    whole = trainings[0][case]
    assert trainings[1]["ranks"] == [0, 1]
    for of_rank in (training[case] for training in trainings[1:]):
        assert len(of_rank["gradients"]) == len(whole["gradients"])
        for ours, theirs in zip(of_rank["gradients"], whole["gradients"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(of_rank["weights"], whole["weights"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(of_rank["normaliser"], whole["normaliser"], rtol=1e-12)
        assert [p.keys() for p in of_rank["points"]] == [p.keys() for p in whole["points"]]
        for ours, theirs in zip(of_rank["points"], whole["points"], strict=True):
            # The rollout's values are float32.
            assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_the_trainings_test_something(trainings: list[dict]) -> None:
    """Episodes ended, lambda moved, the critic learned alone first, and an update was cut short."""
    case = trainings[0]["PPD"]
    assert {"rollout/ep_return", "train/kl_loss"} <= case["points"][-1].keys()
    assert case["points"][0]["train/lambda"] != case["points"][-1]["train/lambda"]
    assert len(case["gradients"][0]) < len(case["gradients"][-1])
    assert 7 < len(trainings[0]["PPD with target_kl"]["gradients"]) < 7 * 2 * 3


def test_ranks_draw_other_random_numbers(trainings: list[dict]) -> None:
    assert len({training["PPD"]["own_noise"] for training in trainings}) == 3


def test_a_callback_of_one_rank_ends_the_training_on_all(trainings: list[dict]) -> None:
    """In the second rollout: the updates of the first one are made."""
    assert [training["stopped"] for training in trainings] == [2 * 3] * 3


def test_joint_moments_are_those_of_all_samples() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(5, 2, (50, 3))
    own = [generator.normal(-1, 4, (n, 3)) for n in (7, 30)]

    def moments(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return samples.mean(axis=0), samples.var(axis=0), float(len(samples))

    each = [moments(np.concatenate([common, samples])) for samples in own]
    joint = joint_moments(moments(common), each)
    for ours, theirs in zip(joint, moments(np.concatenate([common, *own])), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_without_torchrun_nothing_is_exchanged() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    loss = (weight * torch.arange(3)).sum()
    loss.backward()
    gradient, tensor = weight.grad, torch.ones(2)
    assert gradient is not None
    assert average_gradients([weight], loss) is loss
    assert weight.grad is gradient
    assert torch.equal(gradient, torch.arange(3.0))
    assert of_all_ranks(tensor) is tensor
    assert gather("a") == ["a"]
    assert share_of(5, "") == range(5)
    flags = Flags(method=MethodFlags(BC_phase=True))
    assert flags_of_rank(flags) is flags


def test_environments_in_parts_are_the_environments_together() -> None:
    """Seeds and staggering: the first episodes end after 25, 50, 75 and 100 steps."""
    together = make_env("Pusher", 4, 7, workers="serial", blind=True, stagger=True)
    part = make_env("Pusher", 2, 7, workers="serial", blind=True, stagger=True)
    part.take_rows(2, 4)
    part.seed(7)
    actions = np.random.default_rng(0).uniform(-1, 1, (180, 4, 7)).astype(np.float32)
    assert np.array_equal(together.reset()["state"][2:], part.reset()["state"])
    for action in actions:
        obs, rewards, dones, _ = together.step(action)
        part_obs, part_rewards, part_dones, _ = part.step(action[2:])
        assert np.array_equal(obs["state"][2:], part_obs["state"])
        assert np.array_equal(rewards[2:], part_rewards)
        assert np.array_equal(dones[2:], part_dones)
    together.close()
    part.close()


# -- runs -----------------------------------------------------------------------------------------


def short(teacher: Path, folder: Path) -> list[str]:
    where = ["--teacher", str(teacher), "--output", str(folder), "--wandb", "disabled"]
    lengths = ["--num_envs", "4", "--total_timesteps", "160", "--checkpoint_every", "32"]
    return ["--PPD", "--mode", "State", *where, *SHORT, *lengths]


@pytest.mark.slow
def test_a_run_by_torchrun(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record, one student, and checkpoints that only as many ranks can go on from."""
    folder = tmp_path / "run"
    done = torchrun("Distillation/Pusher.py", *short(teacher, folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("below 0.05 m") == 1
    steps = [point["step"] for point in read_metrics(folder) if "time/env_steps" in point]
    assert steps == [0, 160, 160]  # the first evaluation, the training, the last evaluation
    config = json.loads((folder / "config.json").read_text())["config"]
    assert (config["training"]["num_envs"], config["training"]["batch_size"]) == (4, 4)
    last = max((folder / "checkpoints").glob("step_*"))
    assert (last / "rank_1.safetensors").is_file()
    message = failure(capsys, *short(teacher, folder), "--resume")
    assert "is of a run of 2 ranks" in message


@pytest.mark.slow
def test_a_rank_that_ends_ends_the_run_and_resume_goes_on_to_the_bit(
    teacher: Path, tmp_path: Path
) -> None:
    """Rank 1 is killed in the third update, then has an error in the sixth."""
    program = ("-m", "tests.support.faults.killed_rank")
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert torchrun(*program, "never", "0", *short(teacher, whole)).returncode == 0

    killed = torchrun(*program, "SIGKILL", "40", *short(teacher, folder))
    assert killed.returncode != 0
    assert "exitcode  : -9" in killed.stderr  # torchrun's list, which names the rank
    assert "[rank 0] Another rank has ended, so this one ends too" in killed.stderr
    failed = torchrun(*program, "error", "90", *short(teacher, folder), "--resume")
    assert failed.returncode != 0
    assert "[rank 1] The simulator of rank 1 is on fire." in failed.stderr
    assert not (folder / "evaluation.json").exists()

    resumed = torchrun(*program, "never", "0", *short(teacher, folder), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("Resuming from") == 1
    assert outcome(folder) == outcome(whole)
    assert own_states(folder) == own_states(whole)


def own_states(folder: Path) -> bytes:
    """Of rank 1, at the end of the training: its generators, its simulators."""
    last = max((folder / "checkpoints").glob("step_*"))
    return (last / "rank_1.safetensors").read_bytes()


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "training", "device", "expected"),
    [
        ("BC_phase", {}, "cpu", "A run on several ranks is for --PPD, --Sdistillation"),
        ("Dagger_phase", {}, "cpu", "not for --Dagger_phase. Start it without torchrun."),
        ("C_data", {}, "cpu", "not for --C_data"),
        ("PPD", {"num_envs": 9}, "cpu", "--num_envs 9 counts all ranks together"),
        ("PPD", {"batch_size": 255}, "cpu", "--batch_size 255"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(
    method: str, training: dict, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (Algorithm.distributed, Distillation.flags.ranks):
        monkeypatch.setattr(module, "world_size", lambda: 2)
    flags = Flags(
        method=MethodFlags(**{method: True}),
        training=TrainingFlags(**training),
        run=RunFlags(device=device),
    )
    with pytest.raises(UserError, match=expected):
        flags_of_rank(flags)


def test_one_gpu_is_not_given_to_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Algorithm.distributed, "world_size", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="one GPU for all ranks"):
        Algorithm.distributed.device_of_rank("cuda:0")
    assert Algorithm.distributed.device_of_rank("cpu") == "cpu"
