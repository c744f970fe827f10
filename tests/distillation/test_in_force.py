"""What `config.json` says of a run's settings, and that older ones can still be compared."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from Distillation.flags.in_force import comparable, effective_settings
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Enviroment.tasks import TASKS, get_task

CLONING = {"num_data", "dataset", "loss_type", "alpha", "rounds", "behaviour_noise"}
PPO_ONLY = {"num_epochs", "clip_range", "num_steps", "gamma"}


def parsed(*arguments: str) -> Flags:
    return parse(TASKS["Pusher"], [*arguments, "--mode", "ImpaalaSmall"])


def in_force(*arguments: str) -> dict[str, Any]:
    groups = effective_settings(parsed(*arguments))
    return {name: value for group in groups.values() for name, value in group.items()}


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def of_version_01(flags: Flags) -> dict[str, Any]:
    """As `config.json` was: each flag as it was given, null for a default, of all methods."""
    return as_json({**dataclasses.asdict(flags), "method": flags.method.name, "task": "Pusher"})


def test_defaults_that_depend_on_the_method_are_told() -> None:
    ppd = in_force("--PPD")
    assert (ppd["learning_rate"], ppd["final_learning_rate"]) == (1e-3, 5e-5)
    assert (ppd["batch_size"], ppd["num_steps"], ppd["num_epochs"]) == (32, 64, 4)
    assert (ppd["eval_every"], ppd["checkpoint_every"]) == (6_912, 25_000)
    distill = in_force("--Sdistillation")
    assert (distill["learning_rate"], distill["num_steps"]) == (2e-3, 5)
    bc = in_force("--BC_phase")
    assert (bc["learning_rate"], bc["batch_size"], bc["optimization_steps"]) == (1e-3, 32, 1_200)
    assert (bc["eval_every"], bc["checkpoint_every"]) == (400, 400)
    constant = in_force("--PPO", "--learning_rate_schedule", "constant")
    assert constant["learning_rate"] == 1e-3
    assert "final_learning_rate" not in constant
    # 4 epochs of 18 * 64 / 256 = 4.5, so 5 minibatches are 20 steps; 3 rollouts of 1,152 make 60.
    assert in_force("--PPD", "--optimization_steps", "150")["total_timesteps"] == 2_304


def test_nothing_of_other_methods_and_no_null_is_there() -> None:
    ppd, ppo = in_force("--PPD"), in_force("--PPO")
    bc, dagger = in_force("--BC_phase"), in_force("--Dagger_phase")
    for settings in (ppd, ppo, bc, dagger, in_force("--Tdistillation")):
        assert None not in settings.values()
        assert {"mode", "run_index", "frame_size", "eval_episodes"} <= settings.keys()
    assert not CLONING & ppd.keys()
    assert not {"PPD_parameter", "kl_direction", "min_teacher_std"} & ppo.keys()
    assert not (PPO_ONLY | {"PPD_parameter", "rounds"}) & bc.keys()
    assert {"rounds", "round_env_steps", "num_envs"} <= dagger.keys()
    assert not {"final_lambda"} & ppd.keys()  # of a constant lambda
    assert "final_lambda" in in_force("--PPD", "--lambda_schedule", "linear")


@pytest.mark.parametrize("words", [("--mode", "ImpaalaSmall"), ("--mode=ImpaalaMid",)])
@pytest.mark.parametrize("method", ["--PPD", "--Sdistillation", "--PPO"])
def test_students_of_frames_of_the_suite_have_the_general_defaults(
    method: str, words: tuple[str, ...]
) -> None:
    """The paper has no such students; its settings are those of students of the state."""
    names = {"learning_rate", "batch_size", "num_steps", "PPD_parameter", "min_teacher_std"}
    names |= {"detach_ratio", "clip_teacher_mean", "learning_rate_schedule", "num_epochs"}

    def of(task: str, *words: str) -> dict[str, Any]:
        groups = effective_settings(parse(get_task(task), [method, *words]))
        return {k: v for group in groups.values() for k, v in group.items() if k in names}

    assert of("Walker2d", *words) == of("Pusher", "--mode", "ImpaalaSmall")
    assert of("Walker2d") == of("Walker2d", "--mode", "State") != of("Walker2d", *words)
    assert of("Walker2d", "--size", "same") == of("Walker2d")
    # A game's student sees frames in the paper too.
    assert of("Pong", *words) == of("Pong")


def test_a_dataset_of_a_suite_fits_students_of_both_kinds() -> None:
    """`--C_data` takes no mode; its labels must be those that cloning asks for."""

    def teaching(*words: str) -> Any:
        return parse(get_task("Hopper"), words).teaching

    collected = teaching("--C_data")
    assert collected.clip_teacher_mean
    for mode in ("State", "ImpaalaSmall"):
        assert teaching("--BC_phase", "--mode", mode) == collected
        assert teaching("--Dagger_phase", "--mode", mode) == collected


def test_a_mode_without_a_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(get_task("Hopper"), ["--PPD", "--mode"])
    assert exit_.value.code == 2
    assert "Missing value for argument '--mode'" in capsys.readouterr().err


def test_runs_that_lack_a_flag_did_what_their_version_did() -> None:
    """Today's default of --clip_teacher_mean is not what an older run did."""
    now = as_json({**effective_settings(parsed("--PPD")), "method": "PPD", "task": "Pusher"})
    older = {**now, "teaching": {**now["teaching"]}}
    assert older["teaching"].pop("clip_teacher_mean") is True
    unclipped = effective_settings(parsed("--PPD", "--no_clip_teacher_mean"))
    assert comparable(older) == as_json({**unclipped, "method": "PPD", "task": "Pusher"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("--PPD",),
        ("--PPD", "--learning_rate", "0.002", "--lambda_schedule", "linear"),
        ("--PPO", "--optimization_steps", "100"),
        ("--Tdistillation", "--learning_rate_schedule", "constant"),
        ("--BC_phase", "--alpha", "0.5"),
        ("--Dagger_phase", "--dataset", "none"),
    ],
)
def test_configurations_of_both_versions_compare_alike(arguments: tuple[str, ...]) -> None:
    flags = parsed(*arguments)
    now = as_json({**effective_settings(flags), "method": flags.method.name, "task": "Pusher"})
    assert comparable(now) == now
    assert comparable(of_version_01(flags)) == now
    other = comparable(of_version_01(parsed(*arguments, "--frame_size", "32x32")))
    assert other != now
    if "--learning_rate" not in arguments and "none" not in arguments:
        assert comparable(of_version_01(parsed(*arguments, "--learning_rate", "0.5"))) != now
