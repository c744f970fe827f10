"""The loop on worlds whose observations stay on the device learns what it learns from arrays."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Algorithm.on_policy.distill import TeacherDistill
from Algorithm.on_policy.ppd import PPD
from Algorithm.reward_normaliser import RewardNormaliser
from Enviroment.tasks import get_task
from Models.sb3.policies import within_bounds, within_bounds_on_device
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher

pytest.importorskip("mujoco_warp")

from Enviroment.worlds.make import make_worlds

TASK = dataclasses.replace(get_task("Reacher"), frame_size=(16, 16), max_episode_steps=9)
TEACHER = "Results/Reacher/teachers/sac"


@pytest.mark.parametrize("method", [PPD, TeacherDistill])
def test_tensors_and_arrays_give_the_same_student_to_the_bit(method):
    """Three rollouts with truncated episodes; the environment differs only in what it returns."""
    students = [_trained(method, tensors=tensors) for tensors in (True, False)]
    for name, weights in students[0].items():
        assert torch.equal(weights, students[1][name]), name


def _trained(method, *, tensors):
    with contextlib.closing(make_worlds(TASK, 4, 3, tensors=tensors, stagger=True)) as worlds:
        model = method(
            StudentPolicy,
            RewardNormaliser(worlds, norm_reward=True, gamma=0.99),
            Teacher.load(TEACHER),
            policy_kwargs={
                "config": StudentConfig(mode="ImpaalaSmall", family="squashed_gaussian")
            },
            seed=0,
            device="cpu",
            n_steps=8,
            **({"batch_size": 16} if method is PPD else {}),
        )
        worlds.seed(3)
        model.learn(96)
        assert isinstance(model._last_obs["frame"], torch.Tensor if tensors else np.ndarray)
        return {name: value.clone() for name, value in model.policy.state_dict().items()}


@pytest.mark.parametrize("squashed", [True, False])
def test_actions_are_bounded_on_the_device_as_in_numpy(squashed):
    space = spaces.Box(np.array([-2, -0.4], np.float32), np.array([1, 0.4], np.float32))
    policy = StudentPolicy(
        spaces.Dict({"state": spaces.Box(-1, 1, (3,))}),
        space,
        lambda _: 0.0,
        config=StudentConfig(mode="State", family="squashed_gaussian" if squashed else "gaussian"),
    )
    actions = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    actions = actions.tanh() if squashed else 2 * actions
    bounded = within_bounds_on_device(policy, actions)
    np.testing.assert_array_equal(bounded.numpy(), within_bounds(policy, actions))
    assert space.contains(bounded[0].numpy())


def test_discrete_actions_stay_as_they_are():
    actions = torch.tensor([1, 0])
    policy = StudentPolicy(
        spaces.Dict({"state": spaces.Box(-1, 1, (3,))}),
        spaces.Discrete(2),
        lambda _: 0.0,
        config=StudentConfig(mode="State", family="categorical"),
    )
    assert within_bounds_on_device(policy, actions) is actions
