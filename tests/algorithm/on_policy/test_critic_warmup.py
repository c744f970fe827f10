"""The critic alone: which parameters are its own, by autograd, and that no other moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from torch import nn

from Algorithm.on_policy.config import check_warmup
from Algorithm.on_policy.critic_warmup import critic_parameters
from Algorithm.on_policy.distill import StudentDistill, TeacherDistill
from Algorithm.on_policy.ppd import PPD
from Common.errors import UserError
from Enviroment.make import make_env
from Models.sb3.policies import distribution_and_value
from Models.student.policy import StudentConfig, StudentPolicy
from tests.algorithm.on_policy.test_ppd import Recorder, pusher_ppd, recorded
from tests.support.tiny_teacher import tiny_teacher

GROUPS = spaces.Dict(
    {
        "frame": spaces.Box(0, 255, (4, 16, 16), np.uint8),
        "proprio": spaces.Box(-1, 1, (3,)),
        "state": spaces.Box(-1, 1, (5,)),
    }
)
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
VECTOR = spaces.Box(-1, 1, (5,))
ACTIONS = spaces.Box(-1, 1, (2,))


def student(**config: Any) -> tuple[type, spaces.Space, dict[str, Any]]:
    return StudentPolicy, GROUPS, {"config": StudentConfig(precision="float32", **config)}


@pytest.mark.parametrize(
    ("policy_class", "space", "settings"),
    [
        student(mode="State"),
        student(mode="State", critic_on_state=True),
        student(mode="ImpaalaSmall"),
        student(mode="ImpaalaSmall", critic_on_state=True, family="squashed_gaussian"),
        (ActorCriticPolicy, VECTOR, {}),
        (ActorCriticPolicy, VECTOR, {"net_arch": []}),
        (ActorCriticCnnPolicy, IMAGE, {}),
        (ActorCriticCnnPolicy, IMAGE, {"share_features_extractor": False}),
        (MultiInputActorCriticPolicy, spaces.Dict(a=VECTOR, b=IMAGE), {}),
    ],
)
def test_the_critics_own_are_those_that_move_values_and_no_action(
    policy_class: Any, space: spaces.Space, settings: dict[str, Any]
) -> None:
    policy = policy_class(space, ACTIONS, lambda _: 1e-3, **settings)
    space.seed(0)
    observation = space.sample()
    obs, _ = policy.obs_to_tensor(observation)
    if isinstance(observation, dict):  # a student's critic may read more than it acts on
        obs = {name: torch.as_tensor(array)[None] for name, array in observation.items()}
    student_, values = distribution_and_value(policy, obs)
    parameters = dict(policy.named_parameters())

    def moved_by(output: torch.Tensor) -> set[str]:
        grads = torch.autograd.grad(
            output, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        return {name for name, grad in zip(parameters, grads, strict=True) if grad is not None}

    actions = torch.stack([param.sum() for param in student_.params().values()]).sum()
    expected = moved_by(values.sum()) - moved_by(actions)
    own = {id(parameter) for parameter in critic_parameters(policy)}
    assert {name for name, parameter in parameters.items() if id(parameter) in own} == expected
    assert expected


def test_a_policy_of_ones_own_is_refused() -> None:
    class Shared(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor: Any = nn.Identity()
            self.mlp_extractor.latent_dim_pi = self.mlp_extractor.latent_dim_vf = 5

    with pytest.raises(UserError, match="its mlp_extractor is a Identity"):
        critic_parameters(Shared(VECTOR, ACTIONS, lambda _: 1e-3))


@pytest.mark.parametrize("mode", ["State", "ImpaalaSmall"])
def test_the_critic_learns_first_and_then_all(mode: str) -> None:
    model = pusher_ppd(tiny_teacher(), mode, critic_warmup=48, learning_rate=1e-3)
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    points = recorded(model, Recorder(), 24 * 2)  # up to 48 env steps, so both rollouts warm up
    assert [point["train/critic_warmup"] for point in points] == [1, 1]
    for name, p in model.policy.named_parameters():
        assert torch.equal(p, before[name]) != name.startswith("critic."), name
    model.learn(24, reset_num_timesteps=False)
    assert points[-1]["train/critic_warmup"] == 0
    for name, p in model.policy.named_parameters():
        # The frames are black here, so that the first weights on them never move.
        assert torch.equal(p, before[name]) == (name == "encoder.sequences.0.0.weight"), name


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill, TeacherDistill])
def test_every_method_has_it_for_sb3s_policies_too(algorithm: Any) -> None:
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    extra = {"distill_lambda": 0.0} if algorithm is PPD else {}
    settings: dict[str, Any] = {"n_steps": 8, "seed": 0, "device": "cpu", **extra}
    model = algorithm("MlpPolicy", env, critic_warmup=16, **settings)
    if algorithm is not PPD:
        model.set_teacher(PPD("MlpPolicy", make_vec_env("Pendulum-v1", 2), **settings_of_ppd()))
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    model.learn(16)
    for name, p in model.policy.named_parameters():
        assert torch.equal(p, before[name]) != ("value_net" in name), name


def settings_of_ppd() -> dict[str, Any]:
    return {"distill_lambda": 0.0, "n_steps": 8, "device": "cpu", "seed": 1}


def test_the_first_step_of_the_critic_is_adams() -> None:
    """Adam's first step is lr g / (|g| + eps), whatever g, so the last bias moves by lr."""
    model = pusher_ppd(tiny_teacher(), critic_warmup=24, learning_rate=0.01, n_epochs=1)
    model.batch_size = 24
    assert isinstance(model.policy, StudentPolicy)
    bias = dict(model.policy.named_parameters())["critic.4.bias"]
    before = bias.detach().clone()
    model.learn(24)
    assert abs(bias - before).item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 24), "below 0"),
        ((23, 24), "below one rollout of 24"),
        ((100, 24, 100), "leaves nothing of `total_timesteps` 100"),
    ],
)
def test_a_warmup_that_is_none(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_warmup(*arguments)


def test_the_loop_refuses_it_too() -> None:
    env = make_env("Pusher", 2, seed=0, blind=True)
    config = StudentConfig(mode="State", family="squashed_gaussian")
    kwargs: Any = {"policy_kwargs": {"config": config}, "device": "cpu", "n_steps": 4}
    with pytest.raises(UserError, match="below one rollout of 8"):
        PPD(StudentPolicy, env, tiny_teacher(), critic_warmup=7, **kwargs)
