"""The Hopper study: its commands, its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from Common.commands.jobs import Job
from Common.commands.signals import Stopped, StopSignals
from Common.places import ROOT
from Common.runs.files import read_metrics
from Models.teacher.policy import Teacher
from tests.support.refusal import refusal
from Train_Teacher import command
from Train_Teacher.study import study as hopper_study
from Train_Teacher.study.command import main
from Train_Teacher.study.config import DOMAINS, TRANSFERS, StudyFlags, Training

SHORT = ("--eval_every", "100", "--eval_episodes", "2", "--baseline_episodes", "2")
QUIET = ("--wandb", "disabled", "--no_video")


def fail(capsys, *arguments):
    return refusal(capsys, lambda: main(list(arguments)))


# -- one training ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reinforce(tmp_path_factory):
    """REINFORCE with a baseline under UDR, 200 env steps."""
    folder = tmp_path_factory.mktemp("reinforce") / "run"
    flags = ["--algo", "reinforce", "--baseline", "20", "--domain", "source", "--udr"]
    flags += ["--total_timesteps", "200", *SHORT, *QUIET, "--output", str(folder)]
    main(flags)
    return folder, flags


def test_a_training_ends_with_a_bundle_that_sees_raw_states(reinforce):
    folder, _ = reinforce
    teacher = Teacher.load(folder / "teacher")
    d = teacher.description
    assert (d.task, d.algo, d.n_critics) == ("CustomHopper-source-udr", "reinforce", 0)
    assert d.command.startswith("python Train_Teacher/Hopper.py --env CustomHopper-source-udr")
    mean, var = teacher.normaliser()
    assert not mean.any()
    assert (var == 1).all()
    assert d.normaliser_clip is None
    config = json.loads((folder / "config.json").read_text())["config"]
    assert config["run"]["settings"]["baseline"] == 20


def test_episodes_and_seconds_of_training_are_logged_and_go_on(reinforce, tmp_path):
    folder, flags = reinforce
    points = [p for p in read_metrics(folder) if "time/training_seconds" in p]
    last = points[-1]
    # One environment: as many env steps as the episodes were long.
    assert 0 < last["time/episodes"] < last["step"] <= 400
    assert 0 < last["time/training_seconds"] < last["time/seconds"] + 60
    more = [flag if flag != "200" else "500" for flag in flags]
    main([*more, "--resume"])
    resumed = [p for p in read_metrics(folder) if "time/training_seconds" in p][-1]
    assert resumed["step"] >= 500
    assert resumed["time/episodes"] > last["time/episodes"]
    assert resumed["time/training_seconds"] > last["time/training_seconds"]
    assert resumed["time/gradient_steps"] == resumed["time/episodes"]  # one an episode


@pytest.mark.parametrize("algo", ["actor_critic", "ppo"])
def test_the_other_algorithms_train_in_the_target(algo, tmp_path):
    more = ["--n_steps", "50", "--num_envs", "2", "--batch_size", "50"] if algo == "ppo" else []
    folder = tmp_path / "run"
    flags = ["--algo", algo, "--domain", "target", "--total_timesteps", "150", *more]
    main([*flags, *SHORT, *QUIET, "--output", str(folder)])
    d = Teacher.load(folder / "teacher").description
    assert (d.task, d.n_critics) == ("CustomHopper-target", 1)
    point = [p for p in read_metrics(folder) if "time/training_seconds" in p][-1]
    assert point["time/episodes"] > 0


BAD_INPUT = {
    "--algo ppo --domain target --udr": "randomises the source",
    "--algo ppo --domain moon": "--domain moon is unknown",
    "--algo ppo": "needs --domain",
    "--algo ppo --domain": "expected one argument",
    "--algo td3 --domain source": "td3",
    "--algo ppo --domain source --baseline 20": "baseline",
    "--algo reinforce --domain source --n_epochs 3": "n_epochs",
    "--algo reinforce --domain source --baseline 20 --normalize_returns": "normalize_returns",
    "--algo reinforce --domain source --max_grad_norm inf": "must be finite",
    "--algo actor_critic --domain source --total_timesteps 0": "--total_timesteps 0",
    "--env CustomHopper-source --domain source --algo ppo": "--env names the task",
    "--env CustomHopper-moon --algo ppo": "CustomHopper-source",
    "--study": "output",
    "--study --output s --algos td3": "td3",
    "--study --output s --seeds 257": "--seeds 257",
    "--study --output s --seeds 0": "--seeds 0",
    "--study --output s --jobs 0": "--jobs 0",
    "--study --output s --test_episodes 0": "--test_episodes 0",
    "--study --output s --algos ppo ppo": "each once",
    "--study --output s --algos ppo sac --total_timesteps 1 2 3": "3 numbers",
    "--study --output s --algos ppo --total_timesteps 100": "one rollout",
    "--students --output s": "Give run folders",
    "--students nowhere --output s": "nowhere is not a folder",
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.items())
def test_bad_input_ends_before_anything_is_written(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = arguments.split()
    if "--output" not in words and not {"--study", "--students"} & set(words):
        words += ["--output", "run"]
    assert message in fail(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_help_without_a_domain_tells_all_three_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "--domain" in out
    assert "--study" in out
    assert "--students" in out


# -- the study's processes -------------------------------------------------------------------------


def test_the_trainings_of_a_study(tmp_path):
    flags = StudyFlags(tmp_path, ("reinforce_20", "ppo"), seeds=2, total_timesteps=(400, 9216))
    trainings = flags.trainings()
    assert len({t.folder for t in trainings}) == 2 * len(DOMAINS) * 2
    run = command.parse(trainings[1].task.name, trainings[1].flags)
    assert (run.algo, run.run_index, run.settings.total_timesteps) == ("reinforce", 1, 400)
    assert getattr(run.settings, "baseline") == 20  # noqa: B009
    last = command.parse(trainings[-1].task.name, trainings[-1].flags)
    assert (last.algo, last.settings.total_timesteps) == ("ppo", 9216)
    assert trainings[-1].task.name == "CustomHopper-source-udr"


def test_a_larger_total_changes_nothing_else_of_a_run(tmp_path):
    """So that `--resume` takes it."""
    runs = [
        command.parse(training.task.name, training.flags)
        for total in (10_000, 2_000_000)
        for training in StudyFlags(tmp_path, ("ppo",), 1, (total,)).trainings()[:1]
    ]
    settings = replace(runs[0].settings, total_timesteps=2_000_000)
    assert replace(runs[0], settings=settings) == runs[1]


def some(tmp_path, n):
    return [Training("ppo", "source", seed, None, tmp_path) for seed in range(n)]


def scripted(monkeypatch, tmp_path, code):
    """Trainings are `python -c code SEED`."""

    def job_of(training):
        command = [sys.executable, "-c", code, str(training.seed), str(tmp_path)]
        log = tmp_path.with_name(f"{tmp_path.name}_logs") / str(training.seed)
        return Job(training.name, command, log)

    monkeypatch.setattr(hopper_study, "job_of", job_of)


def test_a_bounded_number_of_processes_and_those_that_fail(tmp_path, monkeypatch):
    # Each counts those that run, and says it had company of more than one other.
    code = """
import os, sys, time, pathlib
seed, folder = sys.argv[1:]
mine = pathlib.Path(folder, seed + ".runs"); mine.touch()
for _ in range(20):
    if len(list(pathlib.Path(folder).glob("*.runs"))) > 2:
        pathlib.Path(folder, "crowded").touch()
    time.sleep(0.02)
mine.unlink(); sys.exit(3 if seed == "1" else 0)
"""
    scripted(monkeypatch, tmp_path, code)
    with StopSignals() as signals:
        failed = hopper_study.train_all(some(tmp_path, 4), 2, signals)
    assert [t.seed for t in failed] == [1]
    assert not (tmp_path / "crowded").exists()


def test_a_signal_ends_each_process_in_order_and_starts_no_other(tmp_path, monkeypatch):
    code = """
import os, pathlib, signal, sys, time
seed, folder = sys.argv[1:]
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
os.kill(os.getppid(), signal.SIGTERM)
while not told: time.sleep(0.02)
time.sleep(0.7)  # a checkpoint; meanwhile no second signal comes
pathlib.Path(folder, seed).write_text(str(len(told)))
"""
    scripted(monkeypatch, tmp_path, code)
    with StopSignals() as signals, pytest.raises(Stopped) as stopped:
        hopper_study.train_all(some(tmp_path, 3), 1, signals)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("0", "1")]


def test_a_study_from_end_to_end_and_again(tmp_path, monkeypatch, capsys):
    """As `--study` does it, the trainings in this process and shorter."""
    trained = []

    def train_all(trainings, jobs, signals):
        for training in trainings:
            trained.append(training.name)
            command.main(training.task.name, [*training.flags, *SHORT])
        return []

    monkeypatch.setattr(hopper_study, "train_all", train_all)
    output = tmp_path / "study"
    flags = ["--study", "--algos", "reinforce", "--seeds", "1", "--total_timesteps", "150"]
    flags += ["--test_episodes", "3", "--output", str(output)]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(flags)
        assert ended.value.code == 0
    assert trained == ["reinforce/source_0", "reinforce/target_0", "reinforce/source-udr_0"]
    assert capsys.readouterr().out.count("tested ") == 4  # the second time none

    study = json.loads((output / "study.json").read_text())["algorithms"]["reinforce"]
    assert study["transfers"].keys() == TRANSFERS.keys()
    # Tested in its own domain it has the returns that its bundle has of these seeds.
    own = Teacher.load(output / "runs/reinforce/target_0/teacher").description.baselines
    tested = json.loads((output / "tests/reinforce/target_0_in_target.json").read_text())
    np.testing.assert_allclose(tested["returns"][:2], own["teacher"]["evaluation"], rtol=1e-5)
    assert study["transfers"]["target -> target"]["value"] == np.mean(tested["returns"])
    # Another policy's test does not count.
    (output / "tests/reinforce/target_0_in_target.json").write_text('{"teacher_sha256": "other"}')
    training = StudyFlags(output, ("reinforce",), 1, (150,)).trainings()[1]
    again = hopper_study.play_tests(training, "target", 3)
    assert again == tested["returns"]
    # Its figures would be called those of fewer env steps.
    flags[flags.index("150")] = "100"
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert "holds a training of 150 env steps, not 100" in capsys.readouterr().err


@pytest.mark.slow
def test_the_study_as_a_command_with_two_processes(tmp_path):
    command = [sys.executable, str(ROOT / "Train_Teacher" / "Hopper.py"), "--study", "--algos"]
    command += ["reinforce", "--seeds", "1", "--total_timesteps", "150", "--test_episodes", "2"]
    command += ["--jobs", "2", "--output", "study"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    assert {p.name for p in (tmp_path / "study").glob("*.png")} == {
        "figure1_reinforce.png",
        "figure2_algorithms.png",
        "figure3_domain_transfer.png",
    }
