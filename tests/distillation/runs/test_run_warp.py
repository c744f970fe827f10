"""`--simulator warp`: runs of the command, their continuation, and refusals."""

import json
import os
import signal
import subprocess
import sys

import pytest

from Algorithm.on_policy.loop import OnPolicyStudent
from Common.places import ROOT
from Common.runs.files import read_metrics
from Distillation.command import main, main_suite
from tests.support.refusal import refusal
from tests.support.short_run import SHORT, failure, outcome, write_teacher

pytest.importorskip("mujoco_warp")

WARP = (*SHORT, "--simulator", "warp", "--wandb", "disabled")
PPD = (*WARP, "--PPD", "--mode", "ImpaalaSmall")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"))


def test_a_run_that_was_stopped_ends_as_one_that_was_not(teacher, tmp_path, monkeypatch):
    """Staggered: the first episode of environment 0 ends after 50 env steps each."""
    longer = (*PPD, "--total_timesteps", "120", "--num_steps", "10", "--teacher", str(teacher))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    main("Pusher", [*longer, "--output", str(whole)])
    assert (
        json.loads((whole / "config.json").read_text())["config"]["training"]["simulator"] == "warp"
    )
    train, updates = OnPolicyStudent.train, []

    def train_and_stop(model):
        updates.append(1)
        if len(updates) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        train(model)

    with monkeypatch.context() as patch:
        patch.setattr(OnPolicyStudent, "train", train_and_stop)
        with pytest.raises(SystemExit):
            main("Pusher", [*longer, "--output", str(stopped)])
    main("Pusher", [*longer, "--output", str(stopped), "--resume"])
    assert outcome(stopped) == outcome(whole)
    with pytest.raises(SystemExit):
        main("Pusher", [*PPD, "--output", str(whole), "--resume", "--simulator", "gymnasium"])


def test_dagger_collects_in_the_worlds(teacher, tmp_path):
    rounds = ("--rounds", "1", "--round_env_steps", "8", "--round_gradient_steps", "2")
    flags = [f for f in WARP if f not in ("--total_timesteps", "--num_steps", "24")]
    del flags[flags.index("4") : flags.index("4") + 1]  # of --num_steps
    main(
        "Pusher",
        [
            *(*flags, "--Dagger_phase", "--dataset", "none", "--mode", "ImpaalaSmall", *rounds),
            *("--teacher", str(teacher), "--output", str(tmp_path / "run")),
        ],
    )
    assert (tmp_path / "run" / "student" / "student.json").is_file()


def test_a_student_of_the_state_learns_hopper(tmp_path):
    suite = [f for f in WARP if f not in ("--frame_size", "16x16")]
    main_suite("mujoco", ["--env", "Hopper", *suite, "--PPO", "--output", str(tmp_path / "run")])
    assert (tmp_path / "run" / "student" / "student.json").is_file()


def test_what_warp_cannot_do_is_one_message(capsys, teacher, tmp_path):
    output = ("--output", str(tmp_path / "run"))
    said = failure(capsys, *PPD, *output, "--teacher", str(teacher), "--depth")
    assert "--simulator warp draws no --depth yet" in said
    ant = ["--env", "Ant", *[f for f in PPD if f != "Pusher"], *output, "--PPO"]
    ant.remove("--PPD")
    said = refusal(capsys, lambda: main_suite("mujoco", ant))
    assert "--simulator warp has no version of Ant-v5" in said
    said = failure(capsys, *PPD, *output, "--teacher", str(teacher), "--device", "cuda:7")
    assert "--device cuda:7: this machine has" in said
    said = failure(capsys, *PPD, *output, "--simulator", "isaac")
    assert "isaac" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_ranks_have_their_own_worlds(teacher, tmp_path):
    """By gloo on a processor, as by NCCL where each rank has a card."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    where = ["--teacher", str(teacher), "--output", str(tmp_path / "run")]
    flags = [*PPD, "--num_envs", "4", "--total_timesteps", "32", *where]
    done = subprocess.run(
        [*torchrun, "--nproc_per_node", "2", "Distillation/Pusher.py", *flags],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert read_metrics(tmp_path / "run")[-1]["time/env_steps"] == 32
