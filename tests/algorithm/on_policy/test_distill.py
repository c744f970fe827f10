"""Student-distill and teacher-distill: the loss by reference, and who acts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from Algorithm.on_policy.distill import DistillConfig, StudentDistill, TeacherDistill
from Algorithm.on_policy.rollout import Minibatch
from Common.errors import UserError
from Enviroment.make import make_env
from Models.distributions import DiagGaussian, SquashedGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from tests.algorithm.on_policy.test_ppd import Recorder, recorded
from tests.support.tiny_teacher import tiny_teacher


def make_model(algorithm: Any, **arguments: Any) -> Any:
    env = make_env("Pusher", 3, seed=0, blind=True)
    config = StudentConfig(mode="State", family="squashed_gaussian", precision="float32")
    return algorithm(
        StudentPolicy,
        env,
        tiny_teacher(),
        policy_kwargs={"config": config},
        seed=1,
        device="cpu",
        **arguments,
    )


def test_loss_equals_a_float64_reference() -> None:
    """mean KL(T || S) - 0.1 H + 0.5 mean (V - V_T)^2, in NumPy."""
    model = make_model(StudentDistill, ent_coef=0.1)
    rng = np.random.default_rng(0)
    mean, teacher_mean = rng.normal(size=(2, 9, 4))
    log_std, teacher_log_std = 0.4 * rng.normal(size=(2, 9, 4))
    values, teacher_values, returns = rng.normal(size=(3, 9))
    s, t = np.exp(log_std), np.exp(teacher_log_std)
    kl = (np.log(s / t) + (t**2 + (teacher_mean - mean) ** 2) / (2 * s**2) - 0.5).sum(1)
    entropy = (log_std + 0.5 + 0.5 * np.log(2 * np.pi)).sum(1)
    t64 = torch.as_tensor
    for targets, given in ((teacher_values, t64(teacher_values)), (returns, None)):
        batch = Minibatch(
            obs={},
            raw_actions=t64(mean),
            old_log_prob=t64(values),
            old_values=t64(values),
            advantages=t64(values),
            returns=t64(returns),
            teacher=DiagGaussian(t64(teacher_mean), t64(teacher_log_std)),
            teacher_values=given,
        )
        losses = model.minibatch_losses(DiagGaussian(t64(mean), t64(log_std)), t64(values), batch)
        expected = kl.mean() - 0.1 * entropy.mean() + 0.5 * ((values - targets) ** 2).mean()
        assert losses.total.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("algorithm", [StudentDistill, TeacherDistill])
def test_one_gradient_step_a_rollout_lowers_the_kl(algorithm: Any) -> None:
    model = make_model(algorithm, learning_rate=3e-3)
    recorder = Recorder()
    points = recorded(model, recorder, 15 * 80)
    assert points[-1]["time/gradient_steps"] == 80  # rollouts of 5 steps of 3 environments
    assert points[-1]["rollout/kl"] < 0.75 * points[0]["rollout/kl"]
    named = "rollout/teacher_ep_return" if algorithm is TeacherDistill else "rollout/ep_return"
    returns = {key for point in points for key in point if key.endswith("ep_return")}
    assert returns == {named}


def constant_distribution(obs: Any) -> SquashedGaussian:
    n = len(obs["state"])
    return SquashedGaussian(torch.full((n, 7), 1.25), torch.full((n, 7), -20.0))


def test_the_teacher_acts_where_it_should() -> None:
    """A teacher that always does the same: the raw actions of the rollout are its, or are not."""
    for algorithm, acts in ((TeacherDistill, True), (StudentDistill, False)):
        model = make_model(algorithm, n_steps=4)
        model.teacher.distribution = constant_distribution
        model.learn(12)
        raw = torch.stack(model.rollout_buffer._raw_actions)
        assert torch.allclose(raw, torch.tensor(1.25), atol=1e-6) == acts


@pytest.mark.parametrize("changes", [{"kl_direction": "sideways"}, {"n_steps": 0}, {"gamma": 2}])
def test_bad_configuration(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        DistillConfig(**changes)
