"""REINFORCE and the actor-critic against hand arithmetic and float64 references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from Algorithm.policy_gradient.config import ActorCriticConfig, ReinforceConfig
from Algorithm.policy_gradient.episodes import Episodes
from Algorithm.policy_gradient.loop import PolicyGradient
from Algorithm.policy_gradient.methods import REINFORCE, ActorCritic
from Common.errors import UserError
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.policy import Teacher
from tests.support.environments.fake_env import FakeVecEnv, length_of

ALGORITHMS = (REINFORCE, ActorCritic)
# Linear actor and critic, and a plain step against the gradient.
LINEAR = {"net_arch": [], "optimizer_class": torch.optim.SGD, "ortho_init": False}


class Walk(gym.Env):
    """Rewards 1 a step; ends by itself after `length` steps, or never. Shows the step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int | None = None, reward: float = 1.0):
        self.length, self.reward, self.resets = length, reward, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps, self.resets = 0, self.resets + 1
        return np.zeros(1, np.float32), {}

    def step(self, action: int):
        self.steps += 1
        done = self.steps == self.length
        return np.full(1, self.steps, np.float32), self.reward, done, False, {}


def walk(length: int | None, limit: int | None = None) -> gym.Env:
    env = Walk(length)
    return env if limit is None else gym.wrappers.TimeLimit(env, limit)


def make(algorithm: type[PolicyGradient], env: Any, **settings: Any) -> PolicyGradient:
    return algorithm("MlpPolicy", env, device="cpu", seed=6, **settings)  # pyright: ignore[reportCallIssue]


def learn_and_record(model: PolicyGradient, n_updates: int = 1) -> list[Episodes]:
    """The episodes of each update."""
    recorded: list[Episodes] = []
    train = model.train

    def spy(episodes: Episodes) -> None:
        recorded.append(episodes)
        train(episodes)

    with mock.patch.object(model, "train", spy):
        while len(recorded) < n_updates:
            model.learn(1, reset_num_timesteps=False)
    return recorded


def weights_of(model: PolicyGradient) -> dict[str, np.ndarray]:
    return {k: v.double().numpy().copy() for k, v in model.policy.state_dict().items()}


# -- one update, whole ----------------------------------------------------------------------------


def gaussian_gradients(
    before: dict[str, np.ndarray], episodes: Episodes, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Of -mean[ln N(a; W s + b, exp(log_std)) w], by the chain rule on paper."""
    s, a = episodes.obs.double().numpy(), episodes.raw_actions.double().numpy()
    mean = s @ before["action_net.weight"].T + before["action_net.bias"]
    std = np.exp(before["log_std"])
    d_mean = -weights[:, None] * (a - mean) / std**2 / len(s)  # (B, action_dim)
    return {
        "action_net.weight": d_mean.T @ s,
        "action_net.bias": d_mean.sum(0),
        "log_std": -(weights[:, None] * (((a - mean) / std) ** 2 - 1)).mean(0),
    }


def check_step(before: dict, after: dict, gradients: dict, learning_rate: float) -> None:
    assert set(before) == set(gradients)
    for name, gradient in gradients.items():
        step = before[name] - after[name]
        np.testing.assert_allclose(step / learning_rate, gradient, rtol=2e-4, atol=2e-4)
    assert max(np.abs(gradient).max() for gradient in gradients.values()) > 0.1


def returns_by_definition(episodes: Episodes, gamma: float) -> np.ndarray:
    """The sum in the definition, for each step by itself."""
    rewards, returns, start = episodes.rewards.double().numpy(), [], 0
    for end in np.flatnonzero(episodes.ends.numpy()) + 1:
        for t in range(start, end):
            returns.append(sum(gamma**k * r for k, r in enumerate(rewards[t:end])))
        start = end
    return np.array(returns)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rate_that_falls_to_zero_is_not_below_it_beyond_the_budget(algorithm: Any) -> None:
    """Two episodes of 6 steps for a budget of 8: the second ends at -1/2 of what remains."""
    model = make(algorithm, walk(6), learning_rate=lambda remaining: 1e-3 * remaining)
    model.learn(8)
    assert model.num_timesteps == 12
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize(
    ("settings", "weigh"),
    [
        ({}, lambda g: g),
        ({"baseline": 20.0}, lambda g: g - 20),
        ({"normalize_returns": True}, lambda g: (g - g.mean()) / (g.std(ddof=1) + 1e-8)),
    ],
)
def test_reinforce_update_is_the_gradient_on_paper(
    settings: dict[str, Any], weigh: Callable[[np.ndarray], np.ndarray]
):
    env = FakeVecEnv(2, grouped=False)
    lr = 1e-3
    model = make(REINFORCE, env, learning_rate=lr, gamma=0.9, policy_kwargs=LINEAR, **settings)
    before = weights_of(model)
    (episodes,) = learn_and_record(model)
    gradients = gaussian_gradients(before, episodes, weigh(returns_by_definition(episodes, 0.9)))
    critic = {name: np.zeros_like(before[name]) for name in before if "value" in name}
    check_step(before, weights_of(model), {**gradients, **critic}, lr)


def test_actor_critic_update_is_the_gradient_on_paper():
    env = FakeVecEnv(2, grouped=False)
    lr, gamma, vf_coef = 1e-3, 0.9, 0.25
    settings = {"learning_rate": lr, "gamma": gamma, "vf_coef": vf_coef}
    model = make(ActorCritic, env, policy_kwargs=LINEAR, **settings)
    before = weights_of(model)
    (episodes,) = learn_and_record(model)
    s = episodes.obs.double().numpy()
    values = (s @ before["value_net.weight"].T + before["value_net.bias"])[:, 0]
    following = np.where(episodes.ends.numpy(), 0.0, np.append(values[1:], 0.0))
    td_error = episodes.rewards.double().numpy() + gamma * following - values
    d_value = -2 * vf_coef * td_error / len(s)  # of vf_coef mean (V - target)^2
    gradients = gaussian_gradients(before, episodes, td_error)
    gradients["value_net.weight"] = (d_value @ s)[None]
    gradients["value_net.bias"] = d_value.sum(keepdims=True)
    check_step(before, weights_of(model), gradients, lr)


# -- whole episodes -----------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_environment_gives_its_share_of_whole_episodes(
    algorithm: type[PolicyGradient], grouped: bool
):
    policy = "MultiInputPolicy" if grouped else "MlpPolicy"
    model = algorithm(policy, FakeVecEnv(2, grouped), n_episodes=2, seed=6, device="cpu")  # pyright: ignore[reportCallIssue]
    (episodes,) = learn_and_record(model)
    # Environment 0 plays seeds 6 and 8, environment 1 seeds 7 and 9: 5 + 3 and 6 + 4 steps.
    seeds = [6, 8, 7, 9]
    states = [(seed, step) for seed in seeds for step in range(length_of(seed))]
    obs = episodes.obs["state"] if grouped else episodes.obs
    np.testing.assert_array_equal(obs, states)
    ends = [step == length_of(seed) - 1 for seed, step in states]
    np.testing.assert_array_equal(episodes.ends, ends)
    # The environment pays the first action, clipped to its bounds; the last step s % 100 more.
    first = episodes.raw_actions[:, 0].clamp(-2.0, 4.0)
    last = torch.tensor([seed % 100 if end else 0 for (seed, _), end in zip(states, ends)])  # noqa: B905
    np.testing.assert_allclose(episodes.rewards, first + last, rtol=1e-6)
    assert episodes.count == 4 and not episodes.truncated.any()
    assert model.num_timesteps == 2 * 10  # env 0 waits for two steps, and they are counted


def test_every_update_begins_with_new_episodes():
    """Environment 0 was in the middle of one when the first update was made."""
    first, second = learn_and_record(make(REINFORCE, FakeVecEnv(2, grouped=False)), n_updates=2)
    for episodes in (first, second):
        starts = torch.cat([torch.tensor([True]), episodes.ends[:-1]])
        assert (episodes.obs[starts][:, 1] == 0).all() and episodes.count == 2


def test_one_environment_is_never_reset_by_the_loop():
    env = Walk(length=3)
    learn_and_record(make(REINFORCE, env), n_updates=4)
    assert env.resets == 1 + 4  # before training, and by SB3 after each episode


def test_a_time_limit_is_bootstrapped_by_the_critic_only():
    cut = make(ActorCritic, walk(None, limit=3), gamma=0.5)
    with torch.no_grad():
        value = cut.policy.predict_values(torch.tensor([[3.0]])).item()  # of what it showed last
    (episodes,) = learn_and_record(cut)
    np.testing.assert_allclose(episodes.rewards, [1, 1, 1 + 0.5 * value], rtol=1e-6)
    assert abs(value) > 1e-3 and episodes.truncated.tolist() == [False, False, True]

    (episodes,) = learn_and_record(make(ActorCritic, walk(3), gamma=0.5))
    assert episodes.rewards.tolist() == [1, 1, 1] and not episodes.truncated.any()
    (episodes,) = learn_and_record(make(REINFORCE, walk(None, limit=3), gamma=0.5))
    assert episodes.rewards.tolist() == [1, 1, 1] and episodes.truncated.any()


# -- learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (REINFORCE, {"normalize_returns": True}),
        (ActorCritic, {"n_steps": 20, "normalize_advantage": True}),
    ],
)
def test_learns_cartpole(algorithm: type[PolicyGradient], settings: dict[str, Any]):
    env = make_vec_env("CartPole-v1", n_envs=4, seed=0)
    kwargs = {"learning_rate": 2e-2, "n_episodes": 2, "policy_kwargs": {"net_arch": [16]}}
    model = make(algorithm, env, **kwargs, **settings).learn(12_000)
    last = [info["r"] for info in list(model.ep_info_buffer or ())[-20:]]
    assert np.mean(last) > 50  # a random policy: 22; seeds 0 to 2 gave 79 to 184


# -- saving, callbacks, logging -----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_saved_model_acts_the_same_and_learns_on(algorithm: type[PolicyGradient], tmp_path: Path):
    model = make(algorithm, FakeVecEnv(2, grouped=False), gamma=0.7, n_episodes=2)
    learn_and_record(model, n_updates=2)
    model.save(tmp_path / "model")
    again = algorithm.load(tmp_path / "model", env=FakeVecEnv(2, grouped=False), device="cpu")
    obs = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    for deterministic in (True, False):
        actions = []
        for agent in (model, again):
            torch.manual_seed(0)
            actions.append(agent.predict(obs, deterministic=deterministic)[0])
        np.testing.assert_array_equal(*actions)
    assert again.config == model.config and again.gamma == 0.7
    assert again.gradient_steps == model.gradient_steps == 2
    for agent in (model, again):  # Adam's moments are there too
        agent.set_random_seed(1)
        agent.learn(1)
    for name, value in model.policy.state_dict().items():
        torch.testing.assert_close(value, again.policy.state_dict()[name], rtol=0, atol=0)


class _StopAfter(BaseCallback):
    def __init__(self, calls: int):
        super().__init__()
        self.calls = calls

    def _on_step(self) -> bool:
        return self.n_calls < self.calls


def test_a_callback_ends_training_and_half_an_episode_is_dropped():
    model = make(REINFORCE, FakeVecEnv(2, grouped=False))
    before = weights_of(model)
    model.learn(1000, callback=_StopAfter(2))
    assert model.num_timesteps == 4 and model.gradient_steps == 0
    np.testing.assert_equal(weights_of(model), before)
    (episodes,) = learn_and_record(model)
    assert episodes.obs[0, 1] == 0  # an episode's first step


class _Keep(KVWriter):
    def __init__(self):
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append({**key_values, "step": step})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_logged(algorithm: type[PolicyGradient]):
    env: VecEnv = make_vec_env(lambda: walk(None, limit=3), n_envs=2)
    model, keep = make(algorithm, env), _Keep()
    model.set_logger(Logger(None, [keep]))
    model.learn(18, log_interval=2)  # three updates; the last is logged as well
    assert [row["step"] for row in keep.rows] == [12, 18]
    row = keep.rows[-1]
    assert row["rollout/ep_return"] == 3 and row["rollout/ep_length"] == 3
    assert row["rollout/truncated_share"] == 1 and row["rollout/unused_share"] == 0
    assert row["time/env_steps"] == 18 and row["time/episodes"] == 6
    assert row["time/gradient_steps"] == 3 and row["train/grad_norm"] > 0
    np.testing.assert_allclose(
        row["rollout/entropy"], np.log(2), atol=0.05
    )  # two actions, untrained
    seconds = row["time/rollout_seconds"] + row["time/update_seconds"]
    np.testing.assert_allclose(row["time/seconds_per_episode"], seconds / 2)
    extra = {"train/return"} if algorithm is REINFORCE else {"train/td_error", "train/value_loss"}
    assert extra <= set(row)


def test_waiting_is_logged():
    model, keep = make(REINFORCE, FakeVecEnv(2, grouped=False)), _Keep()
    model.set_logger(Logger(None, [keep]))
    model.learn(1)
    # 5 and 6 steps long: one of the 12 steps made is not learned from
    assert keep.rows[-1]["rollout/unused_share"] == pytest.approx(1 / 12)


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "settings", "message"),
    [
        (REINFORCE, {"gamma": 1.5}, "`gamma` 1.5 must be in"),
        (REINFORCE, {"learning_rate": 0.0}, "`learning_rate` 0.0 must be"),
        (REINFORCE, {"n_episodes": 0}, "`n_episodes` 0 must be at least 1"),
        (REINFORCE, {"max_grad_norm": 0.0}, "`max_grad_norm` 0.0 must be above 0"),
        (REINFORCE, {"baseline": float("nan")}, "`baseline` nan must be finite"),
        (REINFORCE, {"baseline": 20.0, "normalize_returns": True}, "would have no effect"),
        (ActorCritic, {"n_steps": 0}, "`n_steps` 0 must be at least 1"),
        (ActorCritic, {"vf_coef": -1.0}, "`vf_coef` -1.0 must be"),
        (ActorCritic, {"max_episode_steps": 0}, "`max_episode_steps` 0 must be"),
    ],
)
def test_bad_settings(algorithm: type[PolicyGradient], settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        make(algorithm, Walk(3), **settings)


def test_bad_settings_on_loading(tmp_path: Path):
    make(REINFORCE, Walk(3)).save(tmp_path / "model")
    with pytest.raises(UserError, match="`gamma` -1 must be in"):
        REINFORCE.load(tmp_path / "model", gamma=-1)


def test_an_episode_that_never_ends():
    with pytest.raises(UserError, match="Environment 0: an episode has not ended after 50 env"):
        make(REINFORCE, Walk(None), max_episode_steps=50).learn(1)


def test_only_a_single_episode_can_be_too_long():
    settings = {"n_episodes": 4, "max_episode_steps": 3}
    (episodes,) = learn_and_record(make(REINFORCE, Walk(3), **settings))
    assert episodes.count == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_weights_survive_a_reward_that_is_no_number(algorithm: type[PolicyGradient]):
    model = make(algorithm, DummyVecEnv([lambda: Walk(3, reward=float("nan"))]))
    before = weights_of(model)
    with pytest.raises(UserError, match="not finite at gradient step 0"):
        model.learn(1)
    np.testing.assert_equal(weights_of(model), before)


def test_loaded_without_an_environment(tmp_path: Path):
    make(REINFORCE, Walk(3)).save(tmp_path / "model")
    with pytest.raises(UserError, match=r"no environment: pass env= to load"):
        REINFORCE.load(tmp_path / "model").learn(1)


@pytest.mark.parametrize(
    ("algorithm", "config"), [(REINFORCE, ReinforceConfig), (ActorCritic, ActorCriticConfig)]
)
def test_defaults_are_those_of_the_config(algorithm: type, config: type):
    assert make(algorithm, Walk(3)).config == config()


@pytest.mark.parametrize("algorithm", [REINFORCE, ActorCritic])
def test_a_misspelt_setting_is_an_error(algorithm: type):
    with pytest.raises(TypeError, match="n_episode'"):
        make(algorithm, Walk(3), n_episode=2)


def test_reinforce_teaches_without_the_value_head_that_it_never_trains(tmp_path):
    reinforce = REINFORCE("MlpPolicy", "CartPole-v1", seed=0)
    critic = ActorCritic("MlpPolicy", "CartPole-v1", seed=0)
    state = torch.zeros(3, 4)
    assert Teacher.from_sb3(reinforce).value(state) is None
    assert Teacher.from_sb3(critic).value(state) is not None
    reinforce.save(tmp_path / "reinforce.zip")
    _, description = read_sb3_zip(tmp_path / "reinforce.zip", None)
    assert description["algo"] == "reinforce"
    assert description["value_kind"] is None
