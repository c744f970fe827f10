"""`--C_data`, `--BC_phase` and `--Dagger_phase`: short real runs, and what bad input says."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Algorithm.cloning.loop import SupervisedLearner
from Common.runs.files import read_metrics
from Common.runs.tracking import RunTracker
from Distillation.command import main
from Evaluation.video import Recording
from tests.support.short_for import short_for
from tests.support.short_run import failure, outcome, write_teacher

CLONING = ("--mode", "ImpaalaSmall", "--batch_size", "16", "--optimization_steps", "6")


@pytest.fixture(scope="module")
def dataset(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "few"
    flags = ["--C_data", "--num_data", "300", "--teacher", str(teacher), "--output", str(folder)]
    main("Pusher", [*flags, "--frame_size", "16x16", "--threads", "1"])
    return folder


def test_collection_goes_on_with_what_is_there(
    dataset: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in dataset.iterdir()}
    flags = ["--C_data", "--num_data", "300", "--teacher", str(teacher), "--output", str(dataset)]
    flags += ["--frame_size", "16x16", "--threads", "1"]
    main("Pusher", [*flags, "--resume"])
    assert {path.name: path.read_bytes() for path in dataset.iterdir()} == before
    assert "--resume" in failure(capsys, *flags)
    told = failure(capsys, *flags, "--overwrite")
    assert "dataset is never deleted" in told and "holds a dataset already" in told
    assert "give only one" in failure(capsys, "--PPD", "--resume", "--overwrite")


@pytest.mark.parametrize("loss_type", ["NLL", "BetaNLL", "KL", "MSE"])
def test_cloning_runs(pusher: Callable[..., Path], dataset: Path, loss_type: str) -> None:
    flags = ("--alpha", "0.6", "--mode_alpha", "linear", "--loss_type", loss_type)
    folder = pusher("--BC_phase", "--dataset", str(dataset), *CLONING, *flags)
    assert (folder / "student" / "student.json").is_file()
    assert (folder / "checkpoints" / "last").is_dir()
    points = read_metrics(folder)
    assert points[-1]["step"] == 6  # gradient steps
    assert set().union(*points) >= {"train/action_accuracy", "eval/od_return", "time/data_share"}


def test_a_video_is_logged_at_the_runs_last_step(
    teacher: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    recording = Recording(tmp_path / "student.mp4", 0.0, 1)
    monkeypatch.setattr("Distillation.report.record_video", lambda *_: recording)
    monkeypatch.setattr(RunTracker, "video", lambda self, key, path, step: steps.append(step))
    for name, flags in {
        "--BC_phase": ("--dataset", str(dataset), *CLONING),
        "--PPO": ("--mode", "State", "--total_timesteps", "25"),  # in rollouts of 8: 32
    }.items():
        shared = ["--teacher", str(teacher), "--wandb", "disabled", *short_for(name)[:-1]]
        main("Pusher", [name, *shared, *flags, "--output", str(tmp_path / name)])
    assert steps == [6, 32]


def test_dagger_goes_on_from_a_bc_run_and_from_nothing(
    pusher: Callable[..., Path], dataset: Path, teacher: Path, tmp_path: Path
) -> None:
    cloned = pusher("--BC_phase", "--dataset", str(dataset), *CLONING)
    rounds = ["--rounds", "2", "--round_env_steps", "200", "--round_gradient_steps", "3"]
    shared = ["--teacher", str(teacher), *short_for("--Dagger_phase"), "--wandb", "disabled"]
    shared += [*rounds, "--beta_schedule", "linear", "--batch_size", "16"]
    for name, source in {
        "from_bc": ["--folder_Dagger", str(cloned)],
        "from_nothing": ["--dataset", "none", "--mode", "State"],
    }.items():
        folder = tmp_path / name
        main("Pusher", ["--Dagger_phase", *source, *shared, "--output", str(folder)])
        points = read_metrics(folder)
        assert max(point.get("dagger/round", 0) for point in points) == 2
        config = json.loads((folder / "student" / "student.json").read_text())["config"]
        assert config["mode"] == ("ImpaalaSmall" if name == "from_bc" else "State")
        if name == "from_bc":  # round 0 is the cloned student, seen with the same eyes
            best = max(od_returns(read_metrics(cloned)))
            assert od_returns(points)[0] == best
            # Three episodes of 100 were cloned; a round adds 200.
            evaluated = [p["time/env_steps"] for p in points if "eval/od_return" in p]
            assert (evaluated[0], evaluated[-1]) == (300, 700)


def test_stopped_runs_go_on_to_the_bit(
    teacher: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloning, and DAgger from what was cloned, each with a SIGTERM in a gradient step."""
    shared = ["--teacher", str(teacher), "--wandb", "disabled"]
    clone = [
        *shared,
        *short_for("--BC_phase"),
        "--BC_phase",
        "--dataset",
        str(dataset),
        *CLONING,
        "--alpha",
        "0.6",
    ]
    main("Pusher", [*clone, "--output", str(tmp_path / "bc")])
    dagger = [*shared, *short_for("--Dagger_phase"), "--Dagger_phase", "--batch_size", "16"]
    dagger += ["--folder_Dagger", str(tmp_path / "bc")]
    dagger += ["--rounds", "2", "--round_env_steps", "40", "--round_gradient_steps", "3"]
    main("Pusher", [*dagger, "--output", str(tmp_path / "dagger")])
    for name, flags in {"bc": clone, "dagger": dagger}.items():
        again = [*flags, "--output", str(tmp_path / f"{name}_again")]
        with monkeypatch.context() as patch:
            stop_at(patch, 4)  # DAgger: in the second round
            with pytest.raises(SystemExit) as exit_:
                main("Pusher", again)
        assert exit_.value.code == 143
        main("Pusher", [*again, "--resume"])
        assert outcome(tmp_path / f"{name}_again") == outcome(tmp_path / name)


def stop_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """SIGTERM in that gradient step, counted from 0."""
    learn = SupervisedLearner._gradient_step

    def learn_and_stop(model: SupervisedLearner, *arguments: Any) -> None:
        if model.gradient_steps == number:
            os.kill(os.getpid(), signal.SIGTERM)
        learn(model, *arguments)

    patch.setattr(SupervisedLearner, "_gradient_step", learn_and_stop)


def od_returns(points: list[dict]) -> list[float]:
    return [point["eval/od_return"] for point in points if "eval/od_return" in point]


def test_a_dataset_that_is_not_there_or_does_not_fit(
    dataset: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--BC_phase", "--teacher", str(teacher), "--output", str(tmp_path / "run"))
    start += short_for("--BC_phase")
    absent = failure(capsys, *start, "--dataset", "123")
    assert "--C_data --num_data 123" in absent
    assert "Or add --collect_missing" in absent
    nowhere = failure(capsys, *start, "--dataset", "nowhere")
    assert "--output nowhere" in nowhere and "--collect_missing" not in nowhere
    assert "16" in failure(capsys, *start, "--dataset", str(dataset), "--frame_size", "32x32")
    assert "--alpha -1.0 must be 0" in failure(capsys, *start, "--alpha", "-1")
    small = failure(capsys, *start, "--dataset", str(dataset), "--batch_size", "1000")
    assert "fewer than a batch of 1000. Collect a larger one, or lower --batch_size" in small
    other = write_teacher(tmp_path / "other", family="gaussian")
    flags = ("--teacher", str(other), "--dataset", str(dataset))
    assert "of another teacher" in failure(capsys, *start, *flags)
    missing = failure(capsys, "--Dagger_phase", "--folder_Dagger", str(tmp_path), *start[1:])
    assert f"--folder_Dagger {tmp_path} is no run" in missing
    assert "Give the folder of a run of `python Distillation/Pusher.py --BC_phase`" in missing
    assert not (tmp_path / "run").exists()
