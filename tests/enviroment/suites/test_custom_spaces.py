"""A user's own environment whose observations are a dictionary, or whose actions are discrete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Distillation.custom_run import main_custom
from Enviroment.custom import custom_task
from Enviroment.make import make_state_env
from Models.student.bundle import load_student
from Models.teacher.__main__ import main
from Models.teacher.adoption import adopt
from Models.teacher.policy import Teacher
from tests.enviroment.suites.test_custom import SHORT


class Levers(gym.Env):
    """Two levers of 3 and 2 positions; what they were last, and where they should be."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    # A plain dictionary: its space has "goal" before "levers".
    observation_space = spaces.Dict(
        {"levers": spaces.Box(-9, 9, (2,)), "goal": spaces.Box(-9, 9, (3,))}
    )
    action_space: spaces.Space = spaces.MultiDiscrete([3, 2])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.goal = self.np_random.normal(size=3).astype(np.float32)
        self.levers = np.zeros(2, np.float32)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.levers = np.array(action, np.float32)
        return self._seen(), -float(abs(self.levers.sum() - self.goal[0])), False, False, {}

    def _seen(self) -> dict[str, np.ndarray]:
        return {"goal": self.goal.copy(), "levers": self.levers.copy()}


class FromOne(Levers):
    action_space = spaces.Discrete(3, start=1)


class Named(Levers):
    action_space = spaces.Text(3)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for cls in (Levers, FromOne, Named):
        make: Any = cls
        gym.register(f"{cls.__name__}-v0", entry_point=make, max_episode_steps=5)
    yield
    for cls in (Levers, FromOne, Named):
        gym.registry.pop(f"{cls.__name__}-v0")


def test_the_episodes_are_gymnasiums_own() -> None:
    env = make_state_env(custom_task("Levers-v0"), 1, 7)
    assert env.action_space == Levers.action_space
    theirs: gym.Env = gym.make("Levers-v0")
    first, _ = theirs.reset(seed=7)
    states, rewards = [env.reset()[0]], []
    expected, expected_rewards = [np.concatenate([first["goal"], first["levers"]])], []
    for action in ([2, 1], [0, 1], [1, 0]):
        obs, reward, *_ = env.step(np.array([action]))
        states.append(obs[0])
        rewards.append(reward[0])
        seen, their_reward, *_ = theirs.step(np.array(action))
        expected.append(np.concatenate([seen["goal"], seen["levers"]]))
        expected_rewards.append(their_reward)
    env.close()
    np.testing.assert_array_equal(states, expected)
    np.testing.assert_allclose(rewards, expected_rewards, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"), [("FromOne-v0", "start at 1"), ("Named-v0", "Text.*Students act in Box")]
)
def test_actions_that_no_student_has_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_state_env(custom_task(name), 1, 0)


@pytest.mark.parametrize("normalises", [True, False])
def test_a_teacher_of_groups_acts_on_them_one_after_the_other(normalises: bool) -> None:
    env: Any = make_vec_env("Levers-v0", 2)
    env = VecNormalize(env) if normalises else env
    agent = A2C("MultiInputPolicy", env, n_steps=8, seed=1, device="cpu").learn(32)
    teacher = Teacher.from_sb3(agent)
    adopted = adopt(teacher, custom_task("Levers-v0"))
    rng = np.random.default_rng(0)
    groups = {
        "goal": rng.normal(0, 3, (40, 3)).astype(np.float32),
        "levers": rng.normal(0, 3, (40, 2)).astype(np.float32),
    }
    state = np.concatenate([groups["goal"], groups["levers"]], axis=-1)
    seen = env.normalize_obs(groups) if normalises else groups
    expected = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(adopted.predict(state)[0], expected)
    value = adopted.value(torch.as_tensor(state))
    assert value is not None
    inputs = agent.policy.obs_to_tensor(seen)[0]
    with torch.no_grad():
        theirs: Any = agent.policy.predict_values(inputs).flatten()  # pyright: ignore
    scale = float(np.sqrt(env.ret_rms.var + env.epsilon)) if normalises else 1.0
    torch.testing.assert_close(value, theirs * scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("env_id", "policy"), [("Levers-v0", "MultiInputPolicy"), ("CartPole-v1", "MlpPolicy")]
)
def test_from_an_agents_zip_to_a_student(
    env_id: str, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make_vec_env(env_id, 1)
    A2C(policy, env, n_steps=8, seed=1, device="cpu").learn(16).save("agent.zip")
    main(["convert", "agent.zip", "--task", env_id, "--output", "teacher"])
    main_custom(
        [
            *("--env_id", env_id, "--PPD", "--mode", "State", "--teacher", "teacher"),
            *("--output", "run", *SHORT),
        ]
    )
    figures = json.loads(Path("run/evaluation.json").read_text())
    assert {"teacher_return"} <= figures.keys()
    student = load_student(Path("run/student"))
    assert student.action_space == env.action_space
