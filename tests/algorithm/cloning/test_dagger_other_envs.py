"""DAgger in vectorised environments of Stable-Baselines3, which do not tell their task."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

import vision_distillation  # noqa: F401 (registers the environments)
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from tests.support.tiny_teacher import tiny_teacher

SHORT = CloningConfig(gradient_steps=4, batch_size=4)
ROUNDS = DaggerConfig(rounds=2, env_steps=20, gradient_steps=2)


class Watched(VecEnvWrapper):
    """Keeps the observations from which the student acted."""

    def __init__(self, env: DummyVecEnv) -> None:
        super().__init__(env)
        self.seen: list[Any] = []
        self._obs: Any = None

    def reset(self) -> Any:
        self._obs = self.venv.reset()
        return self._obs

    def step_wait(self) -> Any:
        self.seen.append(self._obs)
        result = self.venv.step_wait()
        self._obs = result[0]
        return result


def make() -> gym.Env:
    return gym.make("vision_distillation/Reacher-v0", frame_size=(16, 16), stack=2)


def make_model(env: Any, mode: str) -> DAgger:
    config = StudentConfig(mode=mode, precision="float32", head=(8,), family="squashed_gaussian")
    spaces = env.observation_space, env.action_space
    policy = StudentPolicy(*spaces, lambda _: 0.0, config=config)
    teacher = tiny_teacher(config.family, state_dim=10, action_dim=2, bound=1.0, task="Reacher")
    return DAgger(policy, env, teacher, config=SHORT, dagger=ROUNDS)


@pytest.mark.parametrize("mode", ["ImpaalaSmall", "State"])
def test_it_learns_from_the_frames_that_it_saw(mode: str) -> None:
    env = Watched(DummyVecEnv([make, make]))
    model = make_model(env, mode)
    model.learn()
    assert len(model.data) == 40 and model.gradient_steps == 4
    group = "state" if mode == "State" else "frame"
    read = model.data.read(np.arange(40), (group,))[group]
    expected = np.concatenate([obs[group] for obs in env.seen])
    np.testing.assert_array_equal(read, expected)
    assert len(np.unique(expected, axis=0)) > 20
    assert ("frame" in model.data.capture()["columns"]) == (mode != "State")
    again = make_model(env, mode)
    again.restore(model.capture())
    np.testing.assert_array_equal(again.data.read(np.arange(40), (group,))[group], expected)
