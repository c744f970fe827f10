"""The axis of samples, against a count of what went through gradient steps in short real runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Distillation.command import main
from Evaluation.metrics import METRICS
from Evaluation.plots.curves import read_curve
from Evaluation.runs import read_run

# Rollouts of 2 x 4 samples: minibatches of 3, 3 and 2.
ON_POLICY = ("--total_timesteps", "24", "--num_envs", "2", "--num_steps", "4", "--mode", "State")
ROUNDS = ("--rounds", "2", "--round_env_steps", "40", "--round_gradient_steps", "3")
SHORT = (
    *("--eval_every", "8", "--eval_episodes", "2", "--final_episodes", "2", "--threads", "1"),
    *("--device", "cpu", "--no_video", "--wandb", "disabled"),
)
METHODS = {
    "PPD": ("--PPD", *ON_POLICY, "--batch_size", "3", "--num_epochs", "2"),
    "PPO": ("--PPO", *ON_POLICY, "--batch_size", "3", "--critic_warmup", "8"),
    "Tdistillation": ("--Tdistillation", *ON_POLICY),
    "Dagger_phase": (
        *("--Dagger_phase", "--dataset", "none", "--mode", "State", "--num_envs", "2"),
        *("--batch_size", "10", *ROUNDS),
    ),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all minibatches that were learned from."""
    sizes: list[int] = []
    for algorithm in (PPD, StudentDistill):
        losses = algorithm.minibatch_losses

        def counted(model: Any, student: Any, values: Any, batch: Any, losses=losses) -> Any:
            sizes.append(len(batch.raw_actions))
            return losses(model, student, values, batch)

        monkeypatch.setattr(algorithm, "minibatch_losses", counted)
    step = SupervisedLearner._gradient_step

    def counted_step(model: Any, batch: Any, *more: Any) -> None:
        sizes.append(len(next(iter(batch.obs.values()))))
        step(model, batch, *more)

    monkeypatch.setattr(SupervisedLearner, "_gradient_step", counted_step)
    return sizes


def stopping_at(learner: type, name: str, updates: int) -> Callable[..., Any]:
    """The method, with a SIGTERM in its so-manieth call."""
    method, calls = getattr(learner, name), []

    def stop(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == updates:
            os.kill(os.getpid(), signal.SIGTERM)
        return method(*arguments)

    return stop


@pytest.mark.parametrize("method", METHODS)
def test_samples_are_those_of_all_minibatches_also_of_a_run_that_was_stopped(
    method: str, seen: list[int], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*METHODS[method], *SHORT, "--teacher", str(teacher), "--output", str(tmp_path / "r")]
    of, name = (
        (SupervisedLearner, "_gradient_step")
        if method == "Dagger_phase"
        else (OnPolicyStudent, "train")
    )
    with monkeypatch.context() as patch:
        patch.setattr(of, name, stopping_at(of, name, 2))
        with pytest.raises(SystemExit):
            main("Pusher", flags)
    at_stop = sum(seen)
    main("Pusher", [*flags, "--resume"])
    curve = read_curve(read_run(tmp_path / "r"), METRICS["return"], "samples")
    assert curve is not None
    assert 0 < at_stop < sum(seen)
    assert curve.x[-1] == sum(seen)
    expected = {
        "PPD": [8 * 2 * i for i in range(4)],  # a rollout has 8 samples, an epoch all of them
        "PPO": [8 * 4 * i for i in range(4)],
        "Tdistillation": [8 * i for i in range(4)],
    }
    if method in expected:
        assert curve.x.tolist() == expected[method]
    if method in ("PPD", "PPO"):
        assert set(seen) == {3, 2}
