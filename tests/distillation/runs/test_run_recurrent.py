"""Recurrent students by the command line: every method, resume, the tools, what is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from Algorithm.on_policy.loop import OnPolicyStudent
from Common.runs.files import read_metrics
from Distillation.command import main
from Distillation.custom_run import main_custom
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.measure import evaluate
from Evaluation.evaluate.subject import open_subject
from Evaluation.export.__main__ import ExportFlags
from Evaluation.export.student_file import export
from Evaluation.robustness.__main__ import RobustnessFlags
from Evaluation.robustness.measure import measure_robustness
from Evaluation.saliency.__main__ import SaliencyFlags
from Evaluation.saliency.show import show_saliency
from Evaluation.sight.__main__ import SightFlags
from Evaluation.sight.measure import measure_sight
from tests.support.memory import cue_env
from tests.support.refusal import refusal
from tests.support.short_run import SHORT, failure, outcome, write_teacher

ENV = ("--env_id", cue_env.ENV_ID, "--frames", "env", "--frame_size", "16x32", "--proprio", "0:1")
QUIET = (
    *("--eval_every", "1000000", "--eval_episodes", "2", "--final_episodes", "2"),
    *("--threads", "1", "--device", "cpu", "--no_video", "--wandb", "disabled"),
)
STUDENT = ("--mode", "ImpaalaSmall", "--recurrent", "gru", "--recurrent_units", "6")
ROLLOUTS = ("--total_timesteps", "288", "--num_envs", "3", "--num_steps", "16", *STUDENT)
LEARNS = ("--sequence_length", "8", *STUDENT)
ON_POLICY = {
    "PPD": ("--PPD", *ROLLOUTS, *LEARNS, "--num_epochs", "1", "--batch_size", "16"),
    "PPO": ("--PPO", *ROLLOUTS, *LEARNS),
    "Sdistillation": ("--Sdistillation", *ROLLOUTS, *LEARNS),
    "Tdistillation": ("--Tdistillation", *ROLLOUTS),
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cue_env.write_teacher(tmp_path_factory.mktemp("teacher"))


def run(folder: Path, teacher: Path, *flags: str) -> Path:
    main_custom([*ENV, "--teacher", str(teacher), "--output", str(folder), *flags])
    return folder


@pytest.fixture(scope="module")
def ppd(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run") / "ppd", teacher, *QUIET, *ON_POLICY["PPD"])


@pytest.mark.parametrize("method", ["PPO", "Sdistillation", "Tdistillation"])
def test_on_policy_methods(method: str, teacher: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", teacher, *QUIET, *ON_POLICY[method])
    description = json.loads((folder / "student" / "student.json").read_text())
    assert description["config"]["recurrent"] == "gru"
    assert description["config"]["recurrent_units"] == 6
    ratios = [p["train/ratio_first"] for p in read_metrics(folder) if "train/ratio_first" in p]
    assert ratios == pytest.approx([1.0] * len(ratios), abs=1e-4) and ratios


def test_ppd_writes_its_settings_and_its_name(ppd: Path) -> None:
    config = json.loads((ppd / "config.json").read_text())["config"]
    assert config["student"]["recurrent"] == "gru"
    assert (config["training"]["sequence_length"], config["training"]["batch_size"]) == (8, 16)
    assert open_subject(ppd).student.config.is_recurrent


def test_a_stopped_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    """On Pusher, whose simulator can be saved; stopped within an episode."""
    taught = ("--teacher", str(write_teacher(tmp_path / "teacher")), "--wandb", "disabled")
    budget = ("--total_timesteps", "80", "--sequence_length", "4", *STUDENT)
    flags = ["--PPD", *SHORT, *taught, *budget, "--num_epochs", "1"]
    train, calls = OnPolicyStudent.train, itertools.count(1)

    def train_and_stop(model: OnPolicyStudent) -> None:
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        train(model)

    main("Pusher", [*flags, "--output", str(tmp_path / "whole")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnPolicyStudent, "train", train_and_stop)
        with pytest.raises(SystemExit) as ended:
            main("Pusher", [*flags, "--output", str(tmp_path / "run")])
    assert ended.value.code == 143
    main("Pusher", [*flags, "--output", str(tmp_path / "run"), "--resume"])
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_cloning_and_dagger_from_it(teacher: Path, tmp_path: Path) -> None:
    data, cloned = tmp_path / "data", tmp_path / "cloned"
    run(data, teacher, "--C_data", "--num_data", "300", "--threads", "1")
    budget = ("--optimization_steps", "6", "--dataset", str(data))
    run(cloned, teacher, "--BC_phase", *budget, *QUIET, *LEARNS)
    settings = json.loads((cloned / "config.json").read_text())["config"]["training"]
    assert settings["batch_size"] == 4 * 8  # four sequences
    rounds = ("--rounds", "1", "--round_env_steps", "60", "--round_gradient_steps", "4")
    more = ("--folder_Dagger", str(cloned), "--num_envs", "2", "--sequence_length", "8")
    folder = run(tmp_path / "dagger", teacher, "--Dagger_phase", *rounds, *more, *QUIET)
    assert open_subject(folder).student.config.recurrent_units == 6
    points = read_metrics(folder)
    assert any("dagger/loss" in point for point in points)
    assert any("replay/new" in point for point in points)


def test_a_run_continues_a_recurrent_student(ppd: Path, teacher: Path, tmp_path: Path) -> None:
    flags = ("--PPD", "--mode", "ImpaalaSmall", "--init_from", str(ppd), "--num_envs", "3")
    budget = ("--total_timesteps", "96", "--num_steps", "16", "--sequence_length", "8")
    folder = run(tmp_path / "run", teacher, *flags, *budget, *QUIET)
    config = json.loads((folder / "config.json").read_text())["config"]
    assert config["student"]["recurrent_units"] == 6
    assert config["training"]["batch_size"] == 32


def test_the_tools_work_with_it(ppd: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ppd, tmp_path / "run"))
    env = {"env_id": cue_env.ENV_ID, "threads": 1}
    figures = evaluate(EvaluateFlags(folder, episodes=3, **env))
    assert figures["kl"] != figures["teacher_states_kl"]
    again = evaluate(EvaluateFlags(folder, episodes=3, **env))
    shared = {name for name in figures if "latency" not in name}
    assert {name: again[name] for name in shared} == {name: figures[name] for name in shared}
    assert set(measure_robustness(RobustnessFlags(folder, episodes=2, **env))["curves"]) >= {
        "brightness",
        "proprio_noise",
    }
    variants = measure_sight(SightFlags(folder, episodes=2, **env))["variants"]
    assert np.isfinite(variants["frames frozen at the first"]["return"])
    for path in show_saliency(SaliencyFlags(folder, **env)):
        assert path.stat().st_size


def test_the_exported_file_tells_about_its_memory(ppd: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")
    path = export(ExportFlags(ppd, "onnx", tmp_path / "student.onnx"))
    about = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(about["memory"]) == {
        "input": "memory",
        "output": "next_memory",
        "dtype": "float32",
        "shape": [6],
        "first": 0.0,
    }
    export(ExportFlags(ppd, "torchscript", tmp_path / "student.pt"))


GRU = ("--recurrent", "gru", "--mode", "ImpaalaSmall")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--recurrent", "gru"), "the state leaves nothing to remember"),
        (("--C_data", "--recurrent", "gru"), "--recurrent: only with --PPD"),
        (("--PPD", *GRU, "--size", "same"), "leave out --recurrent"),
        (("--PPD", *GRU, "--recurrent_units", "0"), "--recurrent_units 0 must be at least 1"),
        (("--PPD", *GRU, "--sequence_length", "0"), "--sequence_length 0 must be at least 1"),
        (("--PPD", *GRU, "--sequence_length", "24"), "--sequence_length 24 does not divide"),
        (("--PPD", *GRU, "--batch_size", "40"), "--batch_size 40 must be a multiple of the 16"),
        (("--BC_phase", *GRU, "--batch_size", "40"), "--batch_size 40 must be a multiple"),
        (("--BC_phase", *GRU, "--alpha", "0.6"), "--alpha 0.6: recurrent students"),
        (("--PPD", "--mode", "ImpaalaSmall", "--recurrent_units", "9"), "only with --recurrent"),
        (("--PPD", "--mode", "ImpaalaSmall", "--sequence_length", "9"), "only with --recurrent"),
        (("--PPD", *GRU, "--init_from", "R"), "--init_from, which sets the network"),
    ],
)
def test_bad_input_is_one_message_before_any_work(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = failure(capsys, *flags, "--output", str(tmp_path / "run"))
    assert message in said
    assert not (tmp_path / "run").exists()


def test_an_unknown_memory_is_refused_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    assert "lstm" in refusal(capsys, lambda: main("Pusher", ["--PPD", "--recurrent", "lstm"]))
