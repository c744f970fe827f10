"""The one measure of agreement: the same in training, on a rollout and in evaluation."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.dataset.behaviour_noise import check_noise
from Enviroment.make import make_env, make_state_env
from Enviroment.tasks import get_task
from Models.agreement import ActionAccuracy
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)

PUSHER = spaces.Box(-2.0, 2.0, (2,), np.float32)
UNBOUNDED = spaces.Box(-np.inf, np.inf, (2,), np.float32)


def gaussian(*mean: float) -> DiagGaussian:
    return DiagGaussian(torch.tensor([mean]), torch.zeros(1, len(mean)))


def test_a_gaussians_mode_is_measured_as_the_action_that_is_played() -> None:
    # Bounds -2..2. 5 is played as 2; (2, 0) and (-2, 1) are (1, 0) and (-1, 0.5) when scaled:
    # differences 2 and 0.5, mean square (4 + 0.25) / 2 = 2.125.
    accuracy = ActionAccuracy(PUSHER)
    assert accuracy.of_modes(gaussian(5.0, 0.0), gaussian(-2.0, 1.0)).tolist() == [-1.125]
    played, wanted = np.array([[2.0, 0.0]]), np.array([[-2.0, 1.0]])
    assert accuracy.of_actions(played, wanted).tolist() == [-1.125]


def test_a_dimension_with_a_single_action_counts_as_equal() -> None:
    # (-1, 0.5) and (1, 0.5) differ by 1 in one of two dimensions: 1 - 1/2.
    locked = spaces.Box(np.array([-2, 0.5], np.float32), np.array([2, 0.5], np.float32))
    accuracy = ActionAccuracy(locked)
    assert accuracy.is_defined
    assert accuracy.of_modes(gaussian(-1.0, 7.0), gaussian(1.0, 0.0)).tolist() == [0.5]
    actions = np.array([[-1.0, 0.5]]), np.array([[1.0, 0.5]])
    assert accuracy.of_actions(*actions).tolist() == [0.5]


def test_squashed_modes_are_in_the_same_units() -> None:
    # tanh(atanh(0.5)) = 0.5 of the range -2..2 is the action 1; against -1 the scaled difference
    # is 1 in one of two dimensions: 1 - 1/2.
    half = float(np.arctanh(0.5))
    ours, theirs = (
        SquashedGaussian(torch.tensor([mean], dtype=torch.float64), torch.zeros(1, 2))
        for mean in ([half, 0.0], [-half, 0.0])
    )
    accuracy = ActionAccuracy(PUSHER)
    assert accuracy.of_modes(ours, theirs).item() == pytest.approx(0.5)
    actions = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]])
    assert accuracy.of_actions(*actions).item() == pytest.approx(0.5)


def test_of_discrete_actions_it_is_the_share_that_are_equal() -> None:
    first, second = Categorical(torch.tensor([[2.0, 1.0]])), Categorical(torch.tensor([[0.0, 1.0]]))
    one = ActionAccuracy(spaces.Discrete(2))
    assert one.of_modes(first, second).tolist() == [0.0]
    assert one.of_modes(first, first).tolist() == [1.0]
    several = ActionAccuracy(spaces.MultiDiscrete([2, 2]))
    flat = torch.tensor([[1.0, 0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    pair = [MultiCategorical.from_flat(logits, (2, 2)) for logits in flat]
    assert several.of_modes(*pair).tolist() == [0.5]
    assert several.of_actions([[0, 1], [1, 1]], [[0, 0], [1, 1]]).tolist() == [0.5, 1.0]
    bits = Bernoulli(torch.tensor([[1.0, -1.0]])), Bernoulli(torch.tensor([[1.0, 1.0]]))
    assert ActionAccuracy(spaces.MultiBinary(2)).of_modes(*bits).tolist() == [0.5]


def test_without_bounds_there_is_no_scale_and_no_noise_in_half_ranges() -> None:
    assert not ActionAccuracy(UNBOUNDED).is_defined
    assert ActionAccuracy(PUSHER).is_defined
    wide = spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (2,), np.float32)
    assert not ActionAccuracy(wide).is_defined
    check_noise(wide, 0.0)
    with pytest.raises(UserError, match="too wide"):
        check_noise(wide, 0.2)


class UnboundedReacher(gym.ActionWrapper):
    """Reacher whose actions are clipped inside."""

    def __init__(self) -> None:
        super().__init__(gym.make("Reacher-v5"))
        self.action_space = UNBOUNDED

    def action(self, action: np.ndarray) -> np.ndarray:
        return action.clip(-1, 1)


def test_an_environment_of_unbounded_actions_is_refused_at_once() -> None:
    gym.register("UnboundedReacher-v0", lambda **_: UnboundedReacher(), max_episode_steps=50)
    try:
        task = dataclasses.replace(get_task("Reacher"), env_id="UnboundedReacher-v0")
        for make in (make_env, make_state_env):
            with pytest.raises(UserError, match="UnboundedReacher-v0 have no bounds"):
                make(task, 1, 0)
    finally:
        gym.registry.pop("UnboundedReacher-v0")
