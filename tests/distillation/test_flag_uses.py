"""Flags that the chosen method would pass over are refused, before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from Algorithm.method_registry import METHODS
from Common.errors import UserError
from Distillation.flags.groups import flag_values
from Distillation.flags.parse import default_values, parse
from Distillation.flags.resolve import Flags
from Distillation.flags.uses import USES, UnusedFlagsError, unused_flags_note
from Enviroment.tasks import TASKS


def flags(command: str, task: str = "Pusher") -> Flags:
    return parse(TASKS[task], command.split())


def test_the_table_has_every_flag() -> None:
    assert set(USES) == set(flag_values(Flags())) - set(METHODS)
    assert {method for methods in USES.values() for method in methods} == set(METHODS)


@pytest.mark.parametrize(
    ("command", "useless"),
    [
        ("--BC_phase --final_learning_rate 1e-5", "final_learning_rate"),
        ("--BC_phase --learning_rate_schedule constant", "learning_rate_schedule"),
        ("--BC_phase --kl_direction reverse --loss_type KL", "kl_direction"),
        ("--BC_phase --total_timesteps 100", "total_timesteps"),
        ("--BC_phase --num_envs 2 --num_steps 4", "num_envs num_steps"),
        ("--BC_phase --mode_alpha dynamic_mean", "mode_alpha"),
        ("--BC_phase --behaviour_noise 0.1", "behaviour_noise"),
        ("--BC_phase --dataset some/folder --collect_missing", "collect_missing"),
        (
            "--Dagger_phase --folder_Dagger R --learning_rate 1e-5 --optimization_steps 3",
            "learning_rate optimization_steps",
        ),
        ("--Dagger_phase --dataset none --optimization_steps 3", "optimization_steps"),
        ("--Dagger_phase --init_from R", "init_from"),
        ("--PPD --final_lambda 3", "final_lambda"),
        ("--PPD --loss_type MSE --alpha 0.6", "loss_type alpha"),
        ("--PPD --init_from R --pooling 1", "pooling"),
        ("--Sdistillation --PPD_parameter 50 --num_epochs 9", "PPD_parameter num_epochs"),
        ("--Tdistillation --batch_size 4 --clip_range 0.1", "batch_size clip_range"),
        ("--PPO --min_teacher_std 0.3 --no_detach_ratio", "min_teacher_std detach_ratio"),
        ("--C_data --mode ImpaalaSmall --run_index 3 --device cpu", "mode"),
    ],
)
def test_what_changes_nothing_is_refused(command: str, useless: str) -> None:
    with pytest.raises(UnusedFlagsError) as error:
        flags(command)
    assert set(error.value.flags) == set(useless.split())
    for flag in useless.split():
        assert str(error.value).count(f"--{flag}") == 1


@pytest.mark.parametrize(
    "command",
    [
        "--BC_phase --learning_rate 1e-4 --optimization_steps 3 --loss_type KL --batch_size 4",
        "--BC_phase --alpha 0.6 --mode_alpha dynamic_mean",
        "--BC_phase --collect_missing --behaviour_noise 0.2",
        "--BC_phase --num_epochs 4 --total_timesteps 350000",  # as they are without being given
        "--Dagger_phase --learning_rate 1e-5 --optimization_steps 3 --num_envs 2",
        "--Dagger_phase --num_envs 6000",  # a rollout of all would be more than --total_timesteps
        "--PPD --lambda_schedule linear --final_lambda 3",
        "--PPO --num_epochs 9 --clip_range 0.1",
        "--C_data --behaviour_noise 0.2 --corrupt_teacher 0.1 --run_index 3 --frame_size 16x16",
    ],
)
def test_what_changes_something_is_not(command: str) -> None:
    flags(command)


@pytest.mark.parametrize("method", METHODS)
def test_flags_of_the_whole_toolkit_are_no_mistake(method: str) -> None:
    command = (
        f"--{method} --device cpu --wandb disabled --threads 1 --run_index 1 --overwrite --no_video"
        " --eval_every 9 --checkpoint_every 9 --keep 3"
    )
    parsed = flags(command)
    note = unused_flags_note(parsed, default_values(TASKS["Pusher"], method))
    for flag in ("device", "wandb", "run_index", "overwrite", "video", "eval_every", "keep"):
        assert (f"--{flag}" in note) == (method == "C_data")
    assert "--threads" not in note  # datasets are drawn in so many


def test_a_wrong_value_is_a_mistake_even_without_effect() -> None:
    with pytest.raises(UserError, match="--device 'gpu' is not one of auto"):
        flags("--C_data --device gpu")


def test_either_spelling_of_impala(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("mode: ImpalaBig\n")
    for command, mode in (
        ("--PPD --mode ImpalaSmall", "ImpaalaSmall"),
        ("--PPD --mode=ImpalaMid", "ImpaalaMid"),
        (f"--PPD --config {file}", "ImpaalaBig"),
    ):
        parsed = flags(command)
        assert parsed.student.mode == mode
        assert parsed.run_name().startswith(mode)


def test_settings_of_the_paper_are_nobodys_mistake() -> None:
    """A suite's defaults differ from other tasks' in flags that a method has no use for."""
    for task in ("Hopper", "Atlantis"):
        for method in METHODS:
            assert flags(f"--{method}", task).method.name == method
    with pytest.raises(UnusedFlagsError, match="--PPD_parameter: only with --PPD"):
        flags("--PPO --PPD_parameter 5", "Hopper")  # Pusher's default, and not Hopper's


@pytest.mark.parametrize("method", ["--BC_phase", "--BC-phase"])
def test_hyphens_choose_the_same_defaults(method: str) -> None:
    chosen = flags(method, "Atlantis")
    assert (chosen.clone().learning_rate, chosen.clone().batch_size) == (1e-3, 128)
    assert chosen.clone().gradient_steps == 8_000
    assert flags("--C-data", "Atlantis").cloning.num_data == 100_000


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--PPD --learning_rate 0", "--learning_rate 0.0 must be finite and above 0"),
        ("--Sdistillation --learning_rate -1", "--learning_rate -1.0"),
        ("--BC_phase --learning_rate nan", "--learning_rate nan"),
        ("--PPD --final_learning_rate -1", "--final_learning_rate -1.0"),
        ("--PPD --learning_rate_schedule constant --final_learning_rate 0", "Give only one"),
        ("--PPD --gamma 1.5", "--gamma 1.5 must be in"),
        ("--PPD --gae_lambda -0.1", "--gae_lambda -0.1"),
        ("--PPD --clip_range 0", "--clip_range 0.0"),
        ("--PPD --ent_coef inf", "--ent_coef inf"),
        ("--PPD --min_teacher_std nan", "--min_teacher_std nan"),
        ("--PPD --C_data", "exactly one method"),
    ],
)
def test_numbers_with_which_nothing_is_learned(command: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        flags(command)


# -- what DAgger keeps of the run that it continues -----------------------------------------------


@pytest.fixture
def cloned(tmp_path: Path) -> Path:
    """A BC run, as far as its configuration tells."""
    student = {"mode": "ImpaalaSmall", "frame_size": "16x16", "blind": False}
    cloning = {"dataset": "50k", "loss_type": "MSE"}
    config: dict[str, Any] = {"task": "Pusher", "method": "BC_phase"}
    config |= {"student": student, "cloning": cloning}
    text = json.dumps({"config": config, "teacher_sha256": "abc"})
    (tmp_path / "config.json").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--loss_type KL", "--loss_type KL, but the run has MSE"),  # although it is the default
        ("--mode State", "--mode State, but the run has ImpaalaSmall"),
        ("--dataset 100k", "--dataset 100k, but the run has 50k"),
        ("--dataset none", "--dataset none"),
        ("--dataset some/folder", "--dataset some/folder"),
        ("--frame_size 64x64", "--frame_size 64x64, but the run has 16x16"),
        ("--mode ImpaalaSmall --blind", "--blind True, but the run has False"),
    ],
)
def test_dagger_overwrites_nothing_that_was_given(cloned: Path, given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        flags(f"--Dagger_phase --folder_Dagger {cloned} {given}")


@pytest.mark.parametrize("given", ["", "--mode ImpaalaSmall --loss_type MSE --dataset 50000"])
def test_what_is_said_again_is_no_mistake(cloned: Path, given: str) -> None:
    flags(f"--Dagger_phase --folder_Dagger {cloned} {given}")


def test_a_file_of_flags_overwrites_nothing_either(cloned: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("Dagger_phase: true\nloss_type: KL\n")
    with pytest.raises(UserError, match="--loss_type KL, but the run has MSE"):
        flags(f"--config {file} --folder_Dagger {cloned}")
