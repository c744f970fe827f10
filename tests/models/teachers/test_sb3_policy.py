"""SB3's own policies, asked by one pass, against what they say themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from Algorithm.on_policy.ppd import PPD
from Models.distributions import from_sb3
from Models.sb3.policies import act, distribution_and_value, has_separate_critic

VECTOR = spaces.Box(-1, 1, (5,))
ACTIONS = [
    spaces.Box(-1, 1, (2,)),
    spaces.Discrete(3),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(2),
]


class Scaled(FlattenExtractor):
    """A features extractor that learns."""

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, observations: Tensor) -> Tensor:
        return super().forward(observations) * self.scale


def policy_of(action_space: spaces.Space, **kwargs: Any) -> ActorCriticPolicy:
    torch.manual_seed(0)
    return ActorCriticPolicy(VECTOR, action_space, lambda _: 1e-2, net_arch=[8], **kwargs)


@pytest.mark.parametrize("action_space", ACTIONS, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("extractor", [FlattenExtractor, Scaled])
def test_one_pass_says_what_sb3_says(
    action_space: spaces.Space, share: bool, extractor: type[FlattenExtractor]
) -> None:
    policy = policy_of(
        action_space, share_features_extractor=share, features_extractor_class=extractor
    )
    obs = torch.randn(7, 5)
    distribution, values = distribution_and_value(policy, obs)
    acting, waiting = act(policy, obs)
    expected = from_sb3(policy.get_distribution(obs)).params()
    for name, value in expected.items():
        torch.testing.assert_close(distribution.params()[name], value)
        torch.testing.assert_close(acting.params()[name], value)
    torch.testing.assert_close(values, policy.predict_values(obs).flatten())
    # Values wait unless they come of features that were computed anyway.
    assert (waiting is None) == has_separate_critic(policy) == (extractor is FlattenExtractor)


def test_a_shared_cnn_is_no_separate_critic() -> None:
    images = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    policy = ActorCriticCnnPolicy(images, spaces.Discrete(2), lambda _: 1e-3)
    assert not has_separate_critic(policy)
    assert act(policy, torch.zeros(2, 1, 36, 36, dtype=torch.uint8))[1] is not None


def test_what_a_rollout_keeps_does_not_learn() -> None:
    policy = policy_of(spaces.Box(-1, 1, (2,)))
    obs = torch.randn(7, 5)
    with torch.no_grad():
        kept, _ = act(policy, obs)
    before = {name: value.clone() for name, value in kept.params().items()}
    distribution_and_value(policy, obs)[0].entropy().sum().backward()
    policy.optimizer.step()
    assert not torch.equal(policy.log_std, before["log_std"][0])
    assert all(torch.equal(value, before[name]) for name, value in kept.params().items())


def test_values_that_waited_are_the_critics_own() -> None:
    model = PPD("MlpPolicy", "Pendulum-v1", distill_lambda=0.0, n_steps=8, device="cpu", seed=0)
    _, callback = model._setup_learn(8)
    assert model.env is not None
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 8)
    obs = model.rollout_buffer.flat_obs()
    assert isinstance(obs, Tensor)
    with torch.no_grad():
        expected = [model.policy.predict_values(step[None]).item() for step in obs]
    assert model.rollout_buffer.values[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
