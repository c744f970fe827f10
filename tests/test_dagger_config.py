"""What a round of DAgger is."""

from __future__ import annotations

from typing import Any

import pytest

from Algorithm.dagger import DaggerConfig
from Enviroment.errors import UserError


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
        ({"rounds": 0}, "rounds 0"),
        ({"env_steps": 0}, "env_steps 0"),
        ({"gradient_steps": 0}, "gradient_steps 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"new_share": 1.5}, "new_share 1.5"),
        ({"beta_schedule": "cubic"}, "'cubic' is none of zero, constant"),
        ({"beta": -0.1}, "beta -0.1"),
        ({"beta_decay": 2.0}, "beta_decay 2.0"),
    ],
)
def test_settings_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DaggerConfig(**config)
