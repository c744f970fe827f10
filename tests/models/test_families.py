"""Every family of actions through every on-policy method: one short real run each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from Algorithm import PPD, StudentDistill, TeacherDistill
from Algorithm.on_policy.losses import kl_to_teacher
from Common.errors import UserError
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig
from Models.teacher.policy import Teacher
from tests.algorithm.on_policy.test_ppd import Recorder, recorded

BOX = spaces.Box(np.array([-2, -1], np.float32), np.array([2, 3], np.float32))
SPACE_OF_FAMILY: dict[str, spaces.Space] = {
    "gaussian": BOX,
    "squashed_gaussian": BOX,
    "categorical": spaces.Discrete(4),
    "multi_categorical": spaces.MultiDiscrete([2, 4, 3]),
    "bernoulli": spaces.MultiBinary(3),
}
STEPS = 2 * 2 * 8  # two rollouts of 8 steps of 2 environments
# SB3's MlpPolicy has no squashed Gaussian.
POLICIES = [(family, "StudentPolicy") for family in SPACE_OF_FAMILY] + [
    (family, "MlpPolicy") for family in SPACE_OF_FAMILY if family != "squashed_gaussian"
]


class TinyEnv(gym.Env):
    """Random states, episodes of 5 steps; an action that is not in the space ends the test."""

    def __init__(self, action_space: spaces.Space, grouped: bool) -> None:
        box = spaces.Box(-5, 5, (3,), np.float32)
        self.observation_space = spaces.Dict({"state": box}) if grouped else box
        self.action_space, self.grouped = action_space, grouped

    def _obs(self) -> Any:
        state = self.np_random.normal(size=3).astype(np.float32)
        return {"state": state} if self.grouped else state

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.t += 1
        return self._obs(), float(np.sum(action)), False, self.t == 5, {}


def make_envs(family: str, grouped: bool, seed: int) -> VecEnv:
    settings = {"action_space": SPACE_OF_FAMILY[family], "grouped": grouped}
    return make_vec_env(TinyEnv, 2, seed=seed, env_kwargs=settings)


@cache
def live_agent(family: str) -> Any:
    """An SB3 agent whose actions depend on the state."""
    algorithm = SAC if family == "squashed_gaussian" else PPO
    env = make_envs(family, grouped=False, seed=1)
    agent = algorithm("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return agent


def make_learner(algorithm: Any, family: str, policy: str, teacher: Any) -> Any:
    settings: dict[str, Any] = {"n_steps": 8, "learning_rate": 3e-3, "seed": 2, "device": "cpu"}
    if algorithm is PPD:
        settings |= {"batch_size": 8, "n_epochs": 2}
    grouped = policy == "StudentPolicy"
    config = StudentConfig(mode="State", family=family, head=(16,))
    settings["policy_kwargs"] = {"config": config} if grouped else {"net_arch": [16]}
    return algorithm(policy, make_envs(family, grouped, seed=3), teacher, **settings)


def log_ratios(model: Any, monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """Filled by training: env steps so far -> of each minibatch the largest |ln ratio|."""
    found: dict[int, list[float]] = {}
    original = model.minibatch_losses

    def spied(student: Distribution, values: torch.Tensor, batch: Any) -> Any:
        difference = student.log_prob(batch.raw_actions) - batch.old_log_prob
        found.setdefault(model.num_timesteps, []).append(difference.abs().max().item())
        return original(student, values, batch)

    monkeypatch.setattr(model, "minibatch_losses", spied)
    return found


def check_saved(model: Any, policy: str, folder: Path) -> None:
    """Saved and loaded, by bundle or by SB3, the student does the same."""
    obs = model.get_env().reset()
    if policy == "StudentPolicy":
        save_student(model.policy, folder, {})
        loaded: Any = load_student(folder)
    else:
        model.save(folder / "model.zip")
        loaded = type(model).load(folder / "model.zip", device="cpu")
    assert loaded.action_space == model.action_space
    for deterministic in (True, False):
        torch.manual_seed(4)
        expected, _ = model.predict(obs, deterministic=deterministic)
        torch.manual_seed(4)
        actions, _ = loaded.predict(obs, deterministic=deterministic)
        np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill, TeacherDistill])
@pytest.mark.parametrize(("family", "policy"), POLICIES)
def test_a_short_run(
    family: str, policy: str, algorithm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher.from_sb3(live_agent(family))
    assert teacher.description.family == family
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    model = make_learner(algorithm, family, policy, teacher)
    weights = [parameter.clone() for parameter in model.policy.parameters()]
    with monkeypatch.context() as patch:
        ratios = log_ratios(model, patch)
        points = recorded(model, Recorder(), STEPS)

    # The student's log-probabilities are those of the rollout until it is updated, in every
    # sample; and no longer after that.
    assert list(ratios) == [STEPS // 2, STEPS]
    for point, of_rollout in zip(points, ratios.values(), strict=True):
        assert len(of_rollout) == (4 if algorithm is PPD else 1)
        assert of_rollout[0] < 1e-4
        assert all(later > 1e-3 for later in of_rollout[1:])
        assert point["train/ratio_first"] == pytest.approx(1.0, abs=1e-4)
        assert point["rollout/kl"] > 0
    assert points[-1]["time/gradient_steps"] == (8 if algorithm is PPD else 2)
    moved = zip(weights, model.policy.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    check_saved(model, policy, tmp_path)


def test_sb3s_mlp_policy_cannot_learn_from_a_squashed_teacher() -> None:
    teacher = Teacher.from_sb3(live_agent("squashed_gaussian"))
    with pytest.raises(UserError, match="squashed_gaussian, the student's gaussian"):
        make_learner(PPD, "squashed_gaussian", "MlpPolicy", teacher)


# -- gradients of the KL, float32 against formulas in NumPy's float64 --------------------------


def parameters(family: str) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's and the student's, `(6, n)` each; the last half of a Gaussian's is ln std."""
    scale = 0.5 if "gaussian" in family else 2.0
    teacher, student = scale * np.random.default_rng(0).normal(size=(2, 6, 8))
    return teacher, student


def of_parameters(family: str, params: torch.Tensor) -> Distribution:
    if family == "multi_categorical":
        return MultiCategorical.from_flat(params, (2, 3, 3))
    if family in ("categorical", "bernoulli"):
        return (Categorical if family == "categorical" else Bernoulli)(params)
    gaussian = SquashedGaussian if family == "squashed_gaussian" else DiagGaussian
    return gaussian(*params.chunk(2, dim=-1))


def gaussian_gradient(t: np.ndarray, s: np.ndarray, direction: str) -> np.ndarray:
    """Of the base Gaussians, whether or not a tanh follows.

    Forward, KL(T || S) = ln s - ln t + (t^2 + d^2) / (2 s^2) - 1/2 with d = m_S - m_T: by m_S
    d / s^2, by ln s 1 - (t^2 + d^2) / s^2. Reverse: d / t^2, and s^2 / t^2 - 1.
    """
    (mean_t, log_t), (mean_s, log_s) = np.split(t, 2, axis=1), np.split(s, 2, axis=1)
    d, var_t, var_s = mean_s - mean_t, np.exp(2 * log_t), np.exp(2 * log_s)
    if direction == "forward":
        return np.concatenate([d / var_s, 1 - (var_t + d**2) / var_s], axis=1)
    return np.concatenate([d / var_t, var_s / var_t - 1], axis=1)


def categorical_gradient(t: np.ndarray, s: np.ndarray, direction: str) -> np.ndarray:
    """Forward, KL(p || q): by the logits of q, q - p. Reverse: q (ln q - ln p - KL(q || p))."""
    log_p, log_q = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (t, s))
    p, q = np.exp(log_p), np.exp(log_q)
    if direction == "forward":
        return q - p
    return q * (log_q - log_p - (q * (log_q - log_p)).sum(1, keepdims=True))


def bernoulli_gradient(t: np.ndarray, s: np.ndarray, direction: str) -> np.ndarray:
    """Forward: q - p of each switch. Reverse: q (1 - q) (l_S - l_T)."""
    p, q = (1 / (1 + np.exp(-x)) for x in (t, s))
    return q - p if direction == "forward" else q * (1 - q) * (s - t)


def multi_categorical_gradient(t: np.ndarray, s: np.ndarray, direction: str) -> np.ndarray:
    parts = zip(np.split(t, [2, 5], axis=1), np.split(s, [2, 5], axis=1), strict=True)
    return np.concatenate([categorical_gradient(a, b, direction) for a, b in parts], axis=1)


GRADIENTS = {
    "gaussian": gaussian_gradient,
    "squashed_gaussian": gaussian_gradient,
    "categorical": categorical_gradient,
    "multi_categorical": multi_categorical_gradient,
    "bernoulli": bernoulli_gradient,
}


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("family", GRADIENTS)
def test_gradient_of_the_kl_equals_a_float64_reference(family: str, direction: str) -> None:
    """Of the mean over the batch, by every parameter of the student."""
    teacher, student = parameters(family)
    params = torch.tensor(student, dtype=torch.float32, requires_grad=True)
    teacher_dist = of_parameters(family, torch.tensor(teacher, dtype=torch.float32))
    kl_to_teacher(teacher_dist, of_parameters(family, params), direction).mean().backward()
    expected = GRADIENTS[family](teacher, student, direction) / 6
    assert params.grad is not None
    np.testing.assert_allclose(params.grad.numpy(), expected, rtol=1e-4, atol=1e-6)
