"""Teachers of dictionaries, pictures and discrete observations act on the flattened state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Enviroment.custom import custom_task
from Models.teacher.adoption import adopt
from Models.teacher.policy import Teacher
from tests.support.environments import own_envs
from tests.support.environments.own_envs import OBSERVATIONS


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    own_envs.register()
    yield
    own_envs.unregister()


def batch_of(space: spaces.Space, n: int) -> list[Any]:
    space.seed(0)
    return [space.sample() for _ in range(n)]


def flattened(space: spaces.Space, samples: list[Any]) -> np.ndarray:
    """The states of observations, by Gymnasium: float32 (n, flat_dim)."""
    flat: list[Any] = [spaces.flatten(space, sample) for sample in samples]
    return np.stack(flat).astype(np.float32)


def stacked(samples: list[Any]) -> Any:
    if isinstance(samples[0], dict):
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    return np.stack(samples)


@pytest.mark.parametrize(
    ("kind", "policy", "actions"),
    [
        ("groups", "MultiInputPolicy", "choices"),
        ("groups", "MultiInputPolicy", "switches"),
        ("seen", "MultiInputPolicy", "box"),
        ("table", "MlpPolicy", "discrete"),
        ("bits", "MlpPolicy", "discrete"),
        ("picture", "CnnPolicy", "discrete"),
    ],
)
def test_the_action_is_sb3s(kind: str, policy: str, actions: str) -> None:
    kwargs = {"observations": kind, "actions": actions}
    env = make_vec_env("Line-v0", 1, env_kwargs=kwargs)
    agent = A2C(policy, env, n_steps=4, seed=1, device="cpu").learn(8)
    task = custom_task("Line-v0", env_kwargs=kwargs, frames="env")
    teacher = adopt(Teacher.from_sb3(agent), task)
    space = OBSERVATIONS[kind]
    samples = batch_of(space, 20)
    states = flattened(space, samples)
    theirs = agent.predict(stacked(samples), deterministic=True)[0]
    np.testing.assert_allclose(teacher.predict(states)[0], theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(teacher.predict({"state": states})[0], theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(teacher.predict(states[0])[0], theirs[0], rtol=1e-5, atol=1e-6)
    assert teacher.observation_groups == ("state",)
    inputs = agent.policy.obs_to_tensor(stacked(samples))[0]
    with torch.no_grad():
        values: Any = agent.policy.predict_values(inputs).flatten()  # pyright: ignore
    own = teacher.value(torch.as_tensor(states))
    assert own is not None
    torch.testing.assert_close(own, values, rtol=1e-4, atol=1e-5)
    teacher.check_fits(task.name, spaces.Box(-9, 9, states[0].shape), env.action_space)
    mean, std = teacher.normaliser()
    assert mean.shape == std.shape == states[0].shape
    assert float(std.max()) == (255.0 if kind in ("picture", "seen") else 1.0)


def test_statistics_are_those_of_the_normalised_groups() -> None:
    kwargs = {"observations": "groups"}
    env = VecNormalize(
        make_vec_env("Line-v0", 1, env_kwargs=kwargs), norm_obs_keys=["joints"], clip_obs=5.0
    )
    agent = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, seed=1, device="cpu").learn(16)
    teacher = adopt(Teacher.from_sb3(agent), custom_task("Line-v0", env_kwargs=kwargs))
    mean, std = teacher.normaliser()
    statistics: Any = env.obs_rms["joints"]  # pyright: ignore
    np.testing.assert_allclose(mean, [0, *statistics.mean, 0, 0], rtol=1e-5, atol=1e-7)
    wanted = [1, *np.sqrt(statistics.var + env.epsilon), 1, 1]
    np.testing.assert_allclose(std, wanted, rtol=1e-5)
    samples = batch_of(OBSERVATIONS["groups"], 20)
    states = flattened(OBSERVATIONS["groups"], samples)
    seen = env.normalize_obs(stacked(samples))
    theirs = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(teacher.predict(states)[0], theirs)


class Reach(gym.Env):
    """An arm and its goal, which are of the same shape, in the order of the keyword."""

    def __init__(self, order: Sequence[str] = ("arm", "goal")) -> None:
        box = spaces.Box(-10, 10, (2,), np.float32)
        self.observation_space = spaces.Dict([(name, box) for name in order])
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), float(action[0]), False, False, {}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("order", [("arm", "goal"), ("goal", "arm")])
def test_groups_are_read_by_name_in_any_order(order: tuple[str, str], normalised: bool) -> None:
    """SB3 accepts the environment: dictionaries are equal in any order."""
    gym.register("Reach-v9", entry_point=f"{__name__}:Reach", max_episode_steps=5)
    env = make_vec_env("Reach-v9", 1, env_kwargs={"order": ("goal", "arm")})
    env = VecNormalize(env) if normalised else env
    agent = A2C("MultiInputPolicy", env, n_steps=8, seed=1, device="cpu").learn(64)
    task = custom_task("Reach-v9", env_kwargs={"order": order})
    teacher = adopt(Teacher.from_sb3(agent), task)
    space = gym.make("Reach-v9", order=order).observation_space
    gym.registry.pop("Reach-v9")
    samples = batch_of(space, 20)
    seen = stacked(samples)
    seen = env.normalize_obs(seen) if isinstance(env, VecNormalize) else seen
    theirs = agent.predict(seen, deterministic=True)[0]
    states = flattened(space, samples)
    np.testing.assert_allclose(teacher.predict(states)[0], theirs, rtol=1e-5, atol=1e-6)


def test_a_teacher_of_other_groups_is_refused() -> None:
    env = make_vec_env("Line-v0", 1, env_kwargs={"observations": "groups"})
    teacher = Teacher.from_sb3(A2C("MultiInputPolicy", env, n_steps=4, device="cpu"))
    with pytest.raises(UserError, match=r"observes goal.*the environment has none"):
        adopt(teacher, custom_task("Line-v0", env_kwargs={"observations": "table"}))


def test_a_teacher_of_pictures_reads_the_frames_of_an_environment_of_pictures() -> None:
    kwargs = {"observations": "picture"}
    env = make_vec_env("Line-v0", 1, env_kwargs=kwargs)
    agent = A2C("CnnPolicy", env, n_steps=4, seed=1, device="cpu").learn(8)
    teacher = adopt(Teacher.from_sb3(agent), custom_task("Line-v0", env_kwargs=kwargs))
    assert teacher.observation_groups == ("frame",)


@pytest.mark.parametrize("call", ["predict", "distribution", "value"])
@pytest.mark.parametrize("grouped", [True, False])
def test_a_teacher_names_an_observation_that_is_not_its_own(call: str, grouped: bool) -> None:
    env = gym.make("Line-v0", observations="groups")
    teacher = Teacher.from_sb3(PPO("MultiInputPolicy", env, device="cpu"))
    state: Any = np.zeros((2, 5), np.float32)
    state = state if call == "predict" else torch.as_tensor(state)
    with pytest.raises(UserError, match=r"observes Dict\(.*got .*adopt\(teacher, task\)"):
        getattr(teacher, call)({"state": state} if grouped else state)
    vector = Teacher.load("Results/Pusher/teachers/ppo")
    with pytest.raises(
        UserError, match=r"observes Box\(.*\(23,\), float32\), but got .*\.$"
    ) as said:
        getattr(vector, call)({"frame": state} if grouped else state)
    assert "adopt" not in str(said.value)


def test_only_a_model_is_copied() -> None:
    model: Any = "agent.zip"
    with pytest.raises(UserError, match=r"'agent.zip' is no model .* such as PPO\.load"):
        Teacher.from_sb3(model)
