"""The original toolkit's command lines run as they were typed; here with budgets of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import Enviroment.dataset.reader
from Distillation.command import main
from Enviroment.dataset.reader import TeacherDataset
from tests.support.refusal import refusal
from tests.support.short_for import short_for
from Train_Teacher.command import main as main_teacher

COLLECT = "--C_data --num_data 100000"
LEARN = (
    "--PPD --mode ImpaalaMid --PPD_parameter 5",
    "--Tdistillation --mode ImpaalaMid",
    "--Sdistillation --mode ImpaalaMid",
    "--BC_phase --mode ImpaalaMid --dataset 100k --alpha 0.0",
)
DAGGER = "--Dagger_phase --folder_Dagger RUN"
TEACHER = "--total-timesteps 5000000"
CLONING = ("--optimization_steps", "2", "--batch_size", "8")
ROUND = ("--rounds", "1", "--round_env_steps", "200", "--round_gradient_steps", "1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In place of Results, where `--dataset 100k` is looked for. The dataset is there."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Enviroment.dataset.reader, "RESULTS", folder)
        where = ("--output", str(folder / "Pusher" / "Dataset" / "100000"))
        few = ("--num_data", "200", "--frame_size", "16x16", "--threads", "1")
        main("Pusher", [*COLLECT.split(), "--device", "cuda:0", *where, *few])
        yield folder


def run(results: Path, command: str, *changes: str) -> Path:
    words = command.replace("RUN", str(results / "BC_phase")).split()
    folder = results / words[0].removeprefix("--")
    where = ("--device", "cpu", "--output", str(folder), "--wandb", "disabled")
    main("Pusher", [*words, *where, *short_for(*words), *changes])
    return folder


def test_a_dataset_is_collected_whatever_the_device(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "Pusher" / "Dataset" / "100000"
    assert len(TeacherDataset.open(folder)) == 200
    for device in ("cpu", "cuda:0"):
        main("Pusher", ["--C_data", "--num_data", "200", "--device", device, "--output",
                        str(folder), "--resume", "--frame_size", "16x16"])  # fmt: skip
        assert capsys.readouterr().err.count("without effect with --C_data: --device.") == 1


@pytest.mark.parametrize("command", LEARN)
def test_students_learn(results: Path, command: str) -> None:
    changes = CLONING if "--BC_phase" in command else ()
    folder = run(results, command, *changes)
    assert (folder / "student" / "student.json").is_file()
    if "--BC_phase" in command:
        dagger = run(results, DAGGER, *ROUND, "--num_envs", "2", "--batch_size", "8")
        assert (dagger / "student" / "student.json").is_file()


def test_a_teacher_learns(tmp_path: Path) -> None:
    short = (
        *("--total_timesteps", "40", "--num_envs", "2", "--learning_starts", "8"),
        *("--batch_size", "8", "--net_arch", "8", "--eval_episodes", "1", "--no-video"),
        *("--baseline_episodes", "1", "--wandb", "disabled", "--output", str(tmp_path / "run")),
    )
    main_teacher("Pusher", ["--device", "cpu", *TEACHER.split(), *short])
    assert (tmp_path / "run" / "teacher" / "teacher.json").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", [*LEARN, TEACHER])
def test_who_learns_is_told_that_there_is_no_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    start = main_teacher if command == TEACHER else main
    words = [*command.split(), "--device", "cuda:0", "--output", str(tmp_path / "run")]
    said = refusal(capsys, lambda: start("Pusher", words))
    assert "--device cuda:0: this machine has no CUDA device. Use --device auto or cpu." in said
    assert not list((tmp_path / "run").glob("*.json"))
