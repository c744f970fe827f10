"""A teacher sees raw observations, whatever the student's environment makes of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnvWrapper, VecFrameStack, VecNormalize

from Algorithm import PPD, TeacherDistill
from Common.errors import UserError

SMALL: dict[str, Any] = {"n_steps": 16, "device": "cpu", "seed": 0}


class Recorded(VecEnvWrapper):
    """Keeps every observation, before anything normalises it."""

    seen: list[Any]

    def reset(self) -> Any:
        self.seen = [self.venv.reset()]
        return self.seen[-1]

    def step_wait(self) -> Any:
        step = self.venv.step_wait()
        self.seen.append(step[0])
        return step


class Grouped(gym.ObservationWrapper):
    """A dictionary of two groups, of which a teacher may read one."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.observation_space = spaces.Dict({"state": box, "proprio": box})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"state": observation, "proprio": 2 * observation}


def outspoken_teacher(env: Any) -> PPO:
    """Its actions depend on what it sees, and it hardly strays from them."""
    teacher = PPO("MlpPolicy", env, batch_size=16, **SMALL)
    for parameter in teacher.policy.action_net.parameters():
        parameter.data.mul_(600)
    teacher.policy.log_std.data.fill_(-2.9)  # a deviation of 0.055
    return teacher


def normalised(seed: int, shift: float = 0.0) -> VecNormalize:
    """With statistics of its own."""
    env = VecNormalize(make_vec_env("Pendulum-v1", 2, seed=seed))
    rng = np.random.default_rng(seed)
    env.obs_rms.update(rng.normal(shift, 3.0, size=(1000, 3)))  # pyright: ignore[reportAttributeAccessIssue]
    return env


def sb3s_means(teacher: PPO, env: VecNormalize | None, raw: list[np.ndarray]) -> torch.Tensor:
    """By SB3 itself, `(n_envs * n_steps, 1)` in the rollout's order."""
    steps = [obs if env is None else env.normalize_obs(obs) for obs in raw]
    with torch.no_grad():
        means = [
            teacher.policy.get_distribution(torch.as_tensor(obs)).distribution.mean  # pyright: ignore[reportAttributeAccessIssue]
            for obs in steps
        ]
    return torch.stack(means, dim=1).flatten(0, 1)


@pytest.mark.parametrize("algorithm", [PPD, TeacherDistill])
@pytest.mark.parametrize("has_own_statistics", [True, False])
def test_statistics_are_the_teachers_own(algorithm: Any, has_own_statistics: bool) -> None:
    own = normalised(seed=1, shift=2.0)
    teacher = outspoken_teacher(own if has_own_statistics else own.venv)
    recorded = Recorded(make_vec_env("Pendulum-v1", 2, seed=3))
    student = algorithm("MlpPolicy", VecNormalize(recorded), **SMALL)  # its statistics move
    student.set_teacher(teacher)
    own.training = False
    student.learn(32)
    buffer = student.rollout_buffer
    expected = sb3s_means(teacher, own if has_own_statistics else None, recorded.seen[:16])
    torch.testing.assert_close(buffer.teacher.mean, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.3  # far from one another, and from 0
    if algorithm is TeacherDistill:  # which acts by what it sees
        raw = torch.stack(buffer._raw_actions, dim=1).flatten(0, 1)
        assert (raw - expected).abs().max() < 5 * 0.055
    # What the student saw is what the environment gave it, not the raw observations.
    assert not torch.allclose(buffer.flat_obs()[:16], torch.as_tensor(recorded.seen[0][0]))


def test_a_model_without_an_environment_has_the_students_statistics() -> None:
    env = normalised(seed=1, shift=2.0)
    teacher = outspoken_teacher(env)
    teacher.env = teacher._vec_normalize_env = None
    student = PPD("MlpPolicy", env, **SMALL)
    with pytest.warns(UserWarning, match="The teacher has no environment"):
        student.set_teacher(teacher)
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = sb3s_means(teacher, env, [obs])
    assert student.teacher is not None
    means = student.teacher.distribution(torch.as_tensor(obs)).mode()
    torch.testing.assert_close(means, expected, rtol=1e-4, atol=1e-4)


def test_of_a_dictionary_the_groups_that_the_teacher_reads() -> None:
    env = make_vec_env("Pendulum-v1", 2, seed=3, wrapper_class=Grouped)
    student = PPD("MultiInputPolicy", VecNormalize(env), **SMALL)
    teacher = outspoken_teacher(make_vec_env("Pendulum-v1", 2, seed=1))
    recorded = Recorded(env)
    student.env.venv = recorded  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    student.set_teacher(teacher)
    student.learn(32)
    assert set(student.rollout_buffer._teacher_obs) == {"state"}
    expected = sb3s_means(teacher, None, [obs["state"] for obs in recorded.seen[:16]])
    teacher_dist = student.rollout_buffer.teacher
    assert teacher_dist is not None
    torch.testing.assert_close(teacher_dist.mode(), expected, rtol=1e-4, atol=1e-4)


def test_a_wrapper_around_the_normaliser_is_refused() -> None:
    env = VecFrameStack(normalised(seed=1), n_stack=2)
    student = PPD("MlpPolicy", env, **SMALL)
    with pytest.raises(UserError, match="VecFrameStack wraps a VecNormalize"):
        student.set_teacher(PPO("MlpPolicy", env, batch_size=16, **SMALL))


def test_a_wrapper_around_one_that_leaves_observations_alone_is_not() -> None:
    inner = VecNormalize(make_vec_env("Pendulum-v1", 2, seed=1), norm_obs=False)
    env = VecFrameStack(inner, n_stack=2)
    student = PPD("MlpPolicy", env, **SMALL)
    student.set_teacher(PPO("MlpPolicy", env, batch_size=16, **SMALL))
    assert student.learn(32).num_timesteps == 32
