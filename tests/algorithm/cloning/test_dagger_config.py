"""What a round of DAgger is, and what is held out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Common.errors import UserError
from tests.algorithm.cloning.test_dagger import (
    CLONING,
    DAGGER,
    BoundedFakeEnv,
    FakeData,
    dagger,
    student,
    teacher,
)


def test_beta_schedules_by_hand() -> None:
    def betas(schedule: str) -> list[float]:
        config = DaggerConfig(rounds=5, beta_schedule=schedule, beta=0.8, beta_decay=0.5)
        return [config.beta_in(number) for number in range(1, 6)]

    assert betas("zero") == [0, 0, 0, 0, 0]
    assert betas("constant") == [0.8, 0.8, 0.8, 0.8, 0.8]
    assert betas("linear") == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert betas("exponential") == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.05])
    one = DaggerConfig(rounds=1, beta_schedule="linear", beta=0.8)
    assert one.beta_in(1) == 0.8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rounds": 0}, "`DaggerConfig.rounds` 0"),
        ({"env_steps": 0}, "`DaggerConfig.env_steps` 0"),
        ({"gradient_steps": 0}, "`DaggerConfig.gradient_steps` 0"),
        ({"learning_rate": 0.0}, "`DaggerConfig.learning_rate` 0.0"),
        ({"learning_rate": float("inf")}, "`DaggerConfig.learning_rate` inf must be finite"),
        ({"warmup": 1.0}, "`warmup` 1.0"),
        ({"new_share": 1.5}, "`new_share` 1.5"),
        ({"beta_schedule": "cubic"}, "'cubic' is not one of zero, constant"),
        ({"beta": -0.1}, "`beta` -0.1"),
        ({"beta_decay": 2.0}, "`beta_decay` 2.0"),
    ],
)
def test_settings_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DaggerConfig(**config)


def test_what_a_bc_run_held_out_stays_held_out() -> None:
    """By the seed of that run; the one of DAgger's own could choose episodes it was trained on."""

    class Recording(FakeData):
        seed: int

        def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
            self.seed = seed
            return super().split(validation_fraction, seed)

    env = BoundedFakeEnv()
    for split_seed, expected in ((None, 5), (6, 6)):
        data = Recording()
        common = (student(env), env, teacher(), data, CLONING, DAGGER)
        DAgger(*common, seed=5, cloned=True, split_seed=split_seed)
        assert data.seed == expected
    BehaviouralCloning(student(env), data := Recording(), CLONING, seed=6)
    assert data.seed == 6


@pytest.mark.parametrize("cloned", [False, True])
def test_the_learning_rate_never_begins_anew(cloned: bool) -> None:
    model, _, recorder = dagger(FakeData(), cloned=cloned)
    model.learn()
    rates = recorder.curve("train/learning_rate")
    rises = 2 if cloned else 0  # a tenth of the 15 gradient steps: a new optimizer warms up
    assert rates[: rises + 1] == sorted(rates[: rises + 1])
    assert rates[rises:] == sorted(rates[rises:], reverse=True)
    assert rates[-1] < (DAGGER if cloned else CLONING).learning_rate / 20
