"""Short real runs with random looks: what is kept of them, exact resume, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from Algorithm.on_policy.loop import OnPolicyStudent
from Distillation.command import main, main_suite
from Distillation.custom_run import main_custom
from Enviroment.dataset.__main__ import main as dataset_main
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.drawing.looks import LookRanges
from Enviroment.tasks import TASKS
from Evaluation.evaluate.subject import open_subject
from Evaluation.look.__main__ import LookFlags
from Evaluation.look.show import show_looks
from Models.bundle import read_bundle
from tests.support.environments import own_envs
from tests.support.refusal import refusal
from tests.support.short_for import short_for
from tests.support.short_run import SHORT, failure, outcome

SIGHT = ("--mode", "ImpaalaSmall")
RANGES = dataclasses.replace(LookRanges(), light=0.8, camera_turn=5.0)
LOOKS = ("--randomise_looks", "--look_ranges", "light=0.8,camera_turn=5")


@pytest.fixture(scope="module")
def run(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of PPD with random looks. Not to be written to."""
    return train(teacher, tmp_path_factory.mktemp("ppd") / "run")


def train(teacher: Path, folder: Path, *more: str) -> Path:
    where = ("--teacher", str(teacher), "--output", str(folder), "--wandb", "disabled")
    flags = ("--PPD", *SIGHT, *LOOKS, *SHORT, "--total_timesteps", "80")
    main("Pusher", [*where, *flags, *more])
    return folder


def test_ppd_keeps_its_looks_and_is_evaluated_without(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["looks"] == RANGES.as_json()
    assert config["student"]["randomise_looks"] is True
    assert read_bundle(run / "student", "student")[1]["looks"] == RANGES.as_json()
    assert open_subject(run).task.looks is None


def test_a_stopped_run_goes_on_to_the_bit(
    run: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The episodes run on: the looks of a restored one are those of its seed."""
    calls, update = [], OnPolicyStudent.train

    def train_and_stop(model: OnPolicyStudent) -> None:
        calls.append(0)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        update(model)

    with monkeypatch.context() as patch:
        patch.setattr(OnPolicyStudent, "train", train_and_stop)
        with pytest.raises(SystemExit):
            train(teacher, tmp_path / "stopped")
    assert outcome(train(teacher, tmp_path / "stopped", "--resume")) == outcome(run)


def test_three_phases_with_random_looks(pusher: Callable[..., Path], teacher: Path) -> None:
    cloning = ("--batch_size", "16", "--optimization_steps", "4", "--num_data", "200")
    rounds = ("--rounds", "1", "--round_env_steps", "40", "--round_gradient_steps", "3")
    folder = pusher(
        "--C_data", "--BC_phase", "--Dagger_phase", *SIGHT, "--randomise_looks", *cloning, *rounds
    )
    dataset = TeacherDataset.open(folder / "data")
    assert dataset.task.looks == LookRanges()
    described = json.loads((folder / "data" / "manifest.json").read_text())["recipe"]["task"]
    assert described["looks"] == LookRanges().as_json()
    assert read_bundle(folder / "student", "student")[1]["looks"] == LookRanges().as_json()


def test_a_dataset_says_whether_its_looks_were_random(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {name: tmp_path / name for name in ("plain", "random")}
    shared = ("--C_data", "--num_data", "150", "--teacher", str(teacher), "--threads", "1")
    for name, more in (("plain", ()), ("random", LOOKS)):
        main("Pusher", [*shared, "--frame_size", "16x16", *more, "--output", str(data[name])])
    datasets = {name: TeacherDataset.open(folder) for name, folder in data.items()}
    assert datasets["plain"].task.looks is None
    assert datasets["random"].task.looks == RANGES
    columns = {
        name: dataset.read(np.arange(150), ["frame", "state", "action"])
        for name, dataset in datasets.items()
    }
    for group in ("state", "action"):
        np.testing.assert_array_equal(columns["plain"][group], columns["random"][group])
    assert (columns["plain"]["frame"] != columns["random"]["frame"]).any()
    capsys.readouterr()
    dataset_main(["info", str(data["random"])])
    assert "16x16, gray, random looks" in capsys.readouterr().out
    dataset_main(["repair", str(data["random"]), "--teacher", str(teacher)])
    # Cloning needs the flags of the collection.
    clone = ("--BC_phase", *SIGHT, *short_for("--BC_phase"), "--teacher", str(teacher))
    for name, more in (("plain", LOOKS), ("random", ()), ("random", ("--randomise_looks",))):
        told = failure(capsys, *clone, *more, "--dataset", str(data[name]))
        assert "looks:" in told and "Give the flags of its collection" in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--randomise_looks"), "--randomise_looks: only for frames"),
        (("--PPD", *SIGHT, "--blind", "--randomise_looks"), "only without --blind"),
        (("--PPD", *SIGHT, "--look_ranges", "light=1"), "only with --randomise_looks"),
        (("--PPD", *SIGHT, *LOOKS[:2], "lamp=1"), "--look_ranges 'lamp=1': there is no range"),
        (("--PPD", *SIGHT, *LOOKS[:2], "light=99"), "--look_ranges light=99: give 0 to 10"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, *flags)


def test_frames_that_are_not_ours_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(
        capsys, lambda: main_suite("atari", ["--env", "Pong", "--PPD", "--randomise_looks"])
    )
    assert "--randomise_looks: the frames of Pong are a game's own" in told
    own_envs.register()
    try:
        own = ["--env_id", "Line-v0", "--PPD", *SIGHT, "--randomise_looks"]
        told = refusal(capsys, lambda: main_custom(own))
    finally:
        own_envs.unregister()
    assert "--randomise_looks: the frames of Line-v0 are not drawn by a --camera" in told


def test_a_grid_of_looks(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "looks.png"
    show_looks(LookFlags(str(run), output=output))
    assert "light 0.8" in capsys.readouterr().out
    picture = cv2.imread(str(output))
    assert picture is not None and picture.shape == (3 * 148, 8 * 148, 3)
    cells = [picture[:144, i * 148 :][:, :144].astype(int) for i in range(8)]
    assert all(np.abs(cells[0] - cell).mean() > 1 for cell in cells[1:])
    show_looks(LookFlags("Reacher", frame_size="16x24", output=output))
    assert "camera_turn 3" in capsys.readouterr().out
    for flags, message in (
        (LookFlags("Pushr"), "Pusher"),
        (LookFlags("Pusher", output=tmp_path / "looks.jpg"), "Name a .png file"),
        (LookFlags("Pusher", frame_size="16"), "HEIGHTxWIDTH"),
        (LookFlags("Pong"), "a game's own"),
    ):
        with pytest.raises(Exception, match=message):
            show_looks(flags)


def test_the_preview_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "look.png"
    shared = ["--env_id", TASKS["Hopper"].env_id, "--camera", "torso", "--frame_size", "16x16"]
    main_custom([*shared, "--look", str(path)])
    plain = cv2.imread(str(path))
    main_custom([*shared, "--randomise_looks", "--look", str(path)])
    random = cv2.imread(str(path))
    assert plain is not None and random is not None
    assert np.array_equal(random[: len(plain)], plain)
    assert len(random) > len(plain)
    assert "with random looks, within light 0.35" in capsys.readouterr().out
