"""What lambda follows, by hand arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Algorithm.on_policy.ppd import PPD
from Common.errors import UserError
from tests.algorithm.on_policy.test_ppd import Recorder, pusher_ppd, recorded
from tests.support.tiny_teacher import tiny_teacher


def test_constant_and_linear() -> None:
    constant, linear = LambdaSchedule(5.0, 0.5), LambdaSchedule(5.0, 1.0, "linear")
    assert [constant(remaining) for remaining in (1.0, 0.3, 0.0)] == [5.0] * 3
    # 5 - 4 p after none, a quarter and all of the training.
    assert [linear(remaining) for remaining in (1.0, 0.75, 0.0)] == [5.0, 4.0, 1.0]
    rising = LambdaSchedule(0.0, 2.0, "linear")
    assert rising(0.25) == 1.5


def test_lambda_stays_at_its_end_where_the_last_rollout_goes_beyond_the_budget() -> None:
    """40 of 48 env steps: a line that went on would be below 0."""
    seen: list[float] = []

    def schedule(remaining: float) -> float:
        seen.append(remaining)
        return LambdaSchedule(5.0, 0.0, "linear")(remaining)

    model = pusher_ppd(tiny_teacher(), distill_lambda=schedule)
    model.learn(40)
    assert model.num_timesteps == 48
    assert seen[-1] == model.current_lambda() == 0.0
    model.env.close()  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("skill", "expected"),
    # 1 + (5 - 1) (1 - s), with s cut off below 0 and above 1.
    [(-3.0, 5.0), (0.0, 5.0), (0.25, 4.0), (0.5, 3.0), (1.0, 1.0), (1.2, 1.0)],
)
def test_by_skill(skill: float, expected: float) -> None:
    schedule = LambdaSchedule(5.0, 1.0, "skill")
    assert schedule(0.1) == 5.0  # nothing was measured yet
    schedule.take_skill(skill)
    assert schedule(0.9) == schedule(0.1) == expected


def test_skill_that_falls_brings_lambda_back() -> None:
    schedule = LambdaSchedule(4.0, 0.0, "skill")
    for skill, expected in ((0.75, 1.0), (0.5, 2.0)):
        schedule.take_skill(skill)
        assert schedule(0.5) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 0.5), "first` -1.0"),
        ((5.0, -0.1), "final` -0.1"),
        ((float("nan"), 0.5), "first` nan must be finite"),
        ((5.0, float("inf")), "final` inf"),
        ((0.2, 0.5, "skill"), "final` 0.5 is above `LambdaSchedule.first` 0.2"),
        ((5.0, 0.5, "cosine"), "constant, linear, skill"),
    ],
)
def test_bad_schedules(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LambdaSchedule(*arguments)


def test_no_skill_that_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="not a number"):
        LambdaSchedule(5.0, 0.5, "skill").take_skill(float("nan"))


def test_ppd_follows_it_and_keeps_it(tmp_path: Path) -> None:
    schedule = LambdaSchedule(4.0, 2.0, "skill")
    model = pusher_ppd(tiny_teacher(), distill_lambda=schedule)
    schedule.take_skill(0.25)
    points = recorded(model, Recorder(), 24)
    assert points[0]["train/lambda"] == 3.5  # 2 + 2 * 0.75
    model.save(tmp_path / "model.zip")
    loaded = PPD.load(tmp_path / "model.zip", device="cpu")
    assert loaded.current_lambda() == 3.5
