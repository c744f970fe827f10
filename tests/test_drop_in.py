"""The names and calls of the paper's library, on Gymnasium's own tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from Algorithm import ProximalPolicyDistillation, StudentDistill, TeacherDistill
from Enviroment.errors import UserError

SMALL: dict[str, Any] = {"n_steps": 16, "device": "cpu", "seed": 0}


@pytest.fixture(scope="module")
def teacher() -> PPO:
    return PPO("MlpPolicy", make_vec_env("Pendulum-v1", 2, seed=1), batch_size=16, **SMALL)


@pytest.mark.parametrize("algorithm", [ProximalPolicyDistillation, StudentDistill, TeacherDistill])
def test_a_live_model_teaches(algorithm: Any, teacher: PPO, tmp_path: Path) -> None:
    before = [p.clone() for p in teacher.policy.parameters()]
    env = make_vec_env("Pendulum-v1", 2, seed=2)
    student = algorithm("MlpPolicy", env, policy_kwargs={"net_arch": [32]}, **SMALL)
    with pytest.raises(UserError, match="has no teacher"):
        student.learn(64)
    student.set_teacher(teacher)
    student.learn(64)
    assert student.num_timesteps == 64
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.policy.parameters(), strict=True))
    student.save(tmp_path / "student.zip")
    loaded = algorithm.load(tmp_path / "student.zip", env=env)
    obs = env.reset()
    expected, _ = student.predict(obs, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)


def test_lambda_may_be_a_function_of_env_steps(teacher: PPO) -> None:
    student = ProximalPolicyDistillation("MlpPolicy", make_vec_env("Pendulum-v1", 2), **SMALL)
    student.set_teacher(teacher, distill_lambda=lambda steps: 3 - steps / 32, kl_mode="reverse")
    student.learn(32)
    assert student.current_lambda() == 2.0  # after 32 env steps
    assert student.kl_direction == "reverse"
    with pytest.raises(UserError, match="below 0"):
        student.learn(32 * 8)
    with pytest.raises(UserError, match="not forward or reverse"):
        student.set_teacher(teacher, kl_mode="both")


def test_a_teacher_of_other_spaces_is_refused(teacher: PPO) -> None:
    student = ProximalPolicyDistillation("MlpPolicy", make_vec_env("CartPole-v1", 2), **SMALL)
    with pytest.raises(UserError, match="does not fit"):
        student.set_teacher(teacher)
    assert student.teacher is None
