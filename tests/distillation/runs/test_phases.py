"""`--C_data --BC_phase --Dagger_phase` in one command: one run, which resumes in each phase."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.loop import SupervisedLearner
from Common.errors import UserError
from Common.runs.files import read_metrics
from Distillation.command import main
from Distillation.flags.in_force import comparable, effective_settings
from Distillation.flags.parse import parse
from Distillation.flags.uses import UnusedFlagsError
from Distillation.phases import plan
from Enviroment.dataset import collect
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import get_task
from tests.support.short_run import failure, outcome

COLLECT = ("--num_data", "300")
CLONE = ("--batch_size", "16", "--optimization_steps", "4")
ROUNDS = (
    *("--rounds", "2", "--round_env_steps", "40", "--round_gradient_steps", "3"),
    *("--num_envs", "2"),
)
SHORT = (
    *("--eval_every", "1000", "--eval_episodes", "2", "--final_episodes", "2", "--no_video"),
    *("--frame_size", "16x16", "--device", "cpu", "--threads", "1", "--wandb", "disabled"),
)
ALL = ("--C_data", "--BC_phase", "--Dagger_phase", *COLLECT, *CLONE, *ROUNDS)


@pytest.fixture
def command(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes the flags of a short run, whose shards hold one episode."""
    monkeypatch.setattr(collect, "_SHARD_BYTES", 1)

    def make(folder: Path, *flags: str) -> list[str]:
        where = ("--teacher", str(teacher), "--output", str(folder))
        return [*flags, "--mode", "ImpaalaSmall", *SHORT, *where]

    return make


def test_three_phases_are_one_run_and_resume_in_each(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    main("Pusher", command(whole, *ALL))
    told = capsys.readouterr().err
    assert told.index("1. collect 300 env steps") < told.index("300 of 300 env steps collected")
    assert "3. DAgger in 2 rounds of 40 env steps and 3 gradient steps" in told
    points = read_metrics(whole)
    assert max(point.get("dagger/round", 0) for point in points) == 2
    assert points[-1]["time/gradient_steps"] == 4 + 2 * 3
    assert json.loads((whole / "config.json").read_text())["config"]["phases"] == [
        *("C_data", "BC_phase", "Dagger_phase")
    ]
    flags = command(stopped, *ALL)
    for stop in (_in_collection, _in_cloning, _in_a_round, _in_a_rounds_learning):
        with pytest.MonkeyPatch.context() as patch:
            stop(patch)
            with pytest.raises(SystemExit) as exit_:
                main("Pusher", flags)
        assert exit_.value.code == 143
        flags = command(stopped, *ALL, "--resume")
    main("Pusher", flags)
    assert outcome(stopped) == outcome(whole)
    for path in (whole / "data").iterdir():
        assert (stopped / "data" / path.name).read_bytes() == path.read_bytes()
    # --overwrite starts the learning over, and keeps what was collected with the same settings.
    kept = (whole / "data" / "shard_00000.safetensors").stat().st_mtime_ns
    main("Pusher", command(whole, *ALL, "--overwrite"))
    assert (whole / "data" / "shard_00000.safetensors").stat().st_mtime_ns == kept
    assert outcome(whole) == outcome(stopped)
    other = command(whole, *ALL, "--behaviour_noise", "0.1", "--overwrite")
    assert f"is kept in {whole / 'data'}" in failure(capsys, *other)
    assert outcome(whole) == outcome(stopped)  # nothing has been deleted


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _stop_before(patch: pytest.MonkeyPatch, of: Any, name: str, when: Callable[..., bool]) -> None:
    method = getattr(of, name)

    def stop_and_go(*arguments: Any) -> Any:
        if when(*arguments):
            _stop()
        return method(*arguments)

    patch.setattr(of, name, stop_and_go)


def _in_collection(patch: pytest.MonkeyPatch) -> None:
    """After the first of three shards."""
    _stop_before(patch, collect, "publish_shard", lambda _, manifest, *__: manifest.shards)


def _in_cloning(patch: pytest.MonkeyPatch) -> None:
    step = "_gradient_step"
    _stop_before(patch, SupervisedLearner, step, lambda model, *_: model.gradient_steps == 1)


def _in_a_round(patch: pytest.MonkeyPatch) -> None:
    _stop_before(patch, DAgger, "_visit", lambda _, collecting, __: collecting.steps == 1)


def _in_a_rounds_learning(patch: pytest.MonkeyPatch) -> None:
    step = "_gradient_step"
    _stop_before(patch, SupervisedLearner, step, lambda model, *_: model.gradient_steps == 8)


def test_pairs_of_phases(command: Callable[..., list[str]], tmp_path: Path) -> None:
    cloned = tmp_path / "cloned"
    main("Pusher", command(cloned, "--C_data", "--BC_phase", *COLLECT, *CLONE))
    config = json.loads((cloned / "config.json").read_text())["config"]
    assert config["method"] == "BC_phase" and "dataset" not in config["cloning"]
    dataset = TeacherDataset.open(cloned / "data")
    assert len(dataset) == 300
    assert dataset.manifest.recipe.behaviour_noise == 0.2  # a teacher of continuous actions
    # A later command continues it, with the dataset that it collected.
    rounds = ("--Dagger_phase", *ROUNDS, "--batch_size", "16")
    continued = [*command(tmp_path / "on", *rounds), "--folder_Dagger", str(cloned)]
    continued = [word for word in continued if word not in ("--mode", "ImpaalaSmall")]
    main("Pusher", continued)
    assert read_metrics(tmp_path / "on")[-1]["time/env_steps"] == 300 + 2 * 40
    both = ("--BC_phase", "--Dagger_phase", "--dataset", str(cloned / "data"), *CLONE, *ROUNDS)
    main("Pusher", command(tmp_path / "both", *both))
    assert read_metrics(tmp_path / "both")[-1]["time/gradient_steps"] == 4 + 2 * 3


@pytest.mark.parametrize(
    ("flags", "useless"),
    [
        ("--C_data --BC_phase --dataset 5k", "dataset"),
        ("--C_data --BC_phase --Dagger_phase --collect_missing", "collect_missing"),
        ("--BC_phase --Dagger_phase --folder_Dagger R", "folder_Dagger"),
        ("--BC_phase --Dagger_phase --num_data 9", "num_data"),
        ("--C_data --BC_phase --rounds 9", "rounds"),
    ],
)
def test_what_no_phase_uses_is_refused(flags: str, useless: str) -> None:
    with pytest.raises(UnusedFlagsError) as error:
        parse(get_task("Pusher"), flags.split())
    assert useless in error.value.flags
    assert str(error.value).startswith(", ".join(w for w in flags.split()[:-1] if w[2].isupper()))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--C_data --Dagger_phase", "consecutive phases of --C_data --BC_phase --Dagger_phase"),
        ("--PPD --BC_phase", "given: --PPD and --BC_phase"),
        ("--BC_phase --Dagger_phase --dataset none", "leaves --BC_phase nothing to clone"),
        ("--C_data --BC_phase --Dagger_phase --rounds 0", "--rounds 0 must be at least 1"),
        ("--C_data --BC_phase --num_data 0", "--num_data 0 must be at least 1"),
    ],
)
def test_phases_that_are_no_run(flags: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(get_task("Pusher"), flags.split())


def test_a_configuration_of_phases_compares_like_one_of_a_method() -> None:
    flags = parse(get_task("Pusher"), list(ALL))
    names = {"task": "Pusher", "method": "Dagger_phase", "phases": list(flags.method.phases)}
    config = json.loads(json.dumps({**effective_settings(flags), **names}, default=str))
    assert comparable(config) == config
    assert config["cloning"]["num_data"] == 300 and "dataset" not in config["cloning"]


def test_the_plan_has_the_budget_of_every_phase() -> None:
    flags = parse(get_task("Pusher"), [*ALL, "--loss_type", "KL"])
    assert plan(flags, noise=0.2).splitlines() == [
        "Phases:",
        "  1. collect 300 env steps of the teacher, behaviour noise 0.2",
        "  2. clone with 4 gradient steps of 16 samples, KL",
        "  3. DAgger in 2 rounds of 40 env steps and 3 gradient steps",
    ]
    assert plan(parse(get_task("Pusher"), ["--PPD"]), noise=0.2) == ""
