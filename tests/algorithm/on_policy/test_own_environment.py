"""What a user's own program gives to the algorithms: environments without joints, live models, and
teachers of dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.ppd import PPD
from Common.errors import UserError
from Enviroment.custom import custom_task
from Enviroment.make import make_env, make_state_env
from Enviroment.vector import FrameVecEnv
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher
from tests.support.environments import own_envs

SHORT: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    own_envs.register()
    yield
    own_envs.unregister()


def line(**kwargs: Any) -> FrameVecEnv:
    env = make_env(custom_task("Line-v0", env_kwargs=kwargs), 2, seed=0, workers="serial")
    assert isinstance(env, FrameVecEnv)
    return env


def agent(policy: str, **kwargs: Any) -> PPO:
    return PPO(policy, gym.make("Line-v0", **kwargs), n_steps=8, batch_size=8, device="cpu")


@pytest.mark.parametrize(
    ("actions", "family"),
    [
        ("discrete", "categorical"),
        ("choices", "multi_categorical"),
        ("switches", "bernoulli"),
        ("box", "gaussian"),
    ],
)
def test_without_joints_and_config_a_student_of_frames_learns(actions: str, family: str) -> None:
    env = line(actions=actions)
    model: Any = PPD(StudentPolicy, env, **SHORT)  # the teacher follows
    precision = model.policy.config.precision
    assert model.policy.config == StudentConfig(
        family=family, proprio_features=0, precision=precision
    )
    model.set_teacher(agent("MlpPolicy", actions=actions))
    assert model.learn(16).num_timesteps == 16
    bare = StudentPolicy(env.observation_space, env.action_space, lambda _: 0.0)
    assert bare.config == model.policy.config


def test_without_frames_a_student_of_the_state_learns() -> None:
    env = make_state_env("Pusher", 2, seed=0, grouped=True)
    model = PPD(StudentPolicy, env, Teacher.load("Results/Pusher/teachers/ppo"), **SHORT)
    assert model.policy.config.mode == "State"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        (StudentConfig(family="categorical"), "StudentConfig(proprio_features=0)"),
        (StudentConfig(family="categorical", critic_on_state=True), "proprio_features=0"),
    ],
)
def test_a_missing_group_is_named_with_what_to_do(config: StudentConfig, advice: str) -> None:
    with pytest.raises(UserError, match="no observation group proprio, only frame, state") as said:
        PPD(StudentPolicy, line(), policy_kwargs={"config": config}, **SHORT)
    assert advice in str(said.value)


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill])
def test_a_live_model_teaches_like_its_copy(algorithm: type[PPD | StudentDistill]) -> None:
    live = agent("MlpPolicy")
    short = {name: value for name, value in SHORT.items() if name != "batch_size"}
    weights = [
        algorithm(StudentPolicy, line(), teacher, **short).learn(16).policy.state_dict()
        for teacher in (live, Teacher.from_sb3(live))
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


@pytest.mark.parametrize("given", ["Results/Pusher/teachers/ppo", np.tanh])
def test_what_cannot_teach_is_named(given: Any) -> None:
    with pytest.raises(UserError, match=r"Teacher\.load\('Results|clone the recording"):
        PPD(StudentPolicy, line(), given, **SHORT)
    with pytest.raises(UserError, match=r"Teacher\.load\('Results|clone the recording"):
        PPD(StudentPolicy, line(), **SHORT).set_teacher(given)


def test_a_teacher_of_a_dictionary_reads_the_flat_state() -> None:
    """Its labels of a rollout are SB3's of the dictionaries that the states are made of."""
    kwargs = {"observations": "groups"}
    live = agent("MultiInputPolicy", **kwargs)
    model = PPD(StudentPolicy, line(**kwargs), Teacher.from_sb3(live), **SHORT)
    model.learn(16)
    buffer: Any = model.rollout_buffer
    states, labels = buffer.flat_obs()["state"].numpy(), buffer.teacher
    space = own_envs.OBSERVATIONS["groups"]
    for state, probabilities in zip(states, labels.logits.softmax(-1), strict=True):
        obs, _ = live.policy.obs_to_tensor(spaces.unflatten(space, state))  # pyright: ignore[reportArgumentType]
        expected: Any = live.policy.get_distribution(obs).distribution
        torch.testing.assert_close(probabilities, expected.probs[0], rtol=1e-4, atol=1e-6)


def test_daggers_teacher_is_adopted_too() -> None:
    env = line(observations="groups")
    policy = StudentPolicy(env.observation_space, env.action_space, lambda _: 0.0)
    teacher = agent("MultiInputPolicy", observations="groups")
    dagger = DaggerConfig(rounds=1, env_steps=32, gradient_steps=1)
    DAgger(policy, env, teacher, config=CloningConfig(batch_size=8), dagger=dagger).learn()


def test_frames_that_a_vecnormalize_changes_are_refused() -> None:
    """Encoders divide by 255, and rollouts keep bytes: the student would see next to nothing."""
    with pytest.raises(UserError, match=r"float32.*norm_obs_keys=\['state'\]"):
        PPD(StudentPolicy, VecNormalize(line()), **SHORT)
    PPD(StudentPolicy, VecNormalize(line(), norm_obs_keys=["state"]), **SHORT).set_teacher(
        agent("MlpPolicy")
    )
