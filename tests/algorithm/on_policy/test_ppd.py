"""PPD and PPO against SB3's PPO, hand arithmetic and their own promises."""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger

from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.ppd import PPD, PPDConfig
from Algorithm.on_policy.rollout import Minibatch
from Common.errors import UserError
from Enviroment.make import make_env
from Models.distributions import DiagGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from tests.support.tiny_teacher import tiny_teacher

PPO_ARGUMENTS: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 24,  # 64 samples: the last minibatch is a part of one
    "n_epochs": 3,
    "gamma": 0.98,
    "gae_lambda": 0.9,
    "learning_rate": 3e-3,
    "ent_coef": 0.01,
    "seed": 3,
    "device": "cpu",
}


class Recorder(KVWriter):
    """Keeps every logging point."""

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        self.points.append(dict(key_values))

    def close(self) -> None:
        pass


def recorded(model: Any, recorder: Recorder, steps: int) -> list[dict[str, Any]]:
    """The logging points of so many env steps."""
    model.set_logger(Logger(None, [recorder]))
    model.learn(steps)
    return recorder.points


def pusher_ppd(teacher: Teacher | None, mode: str = "State", **arguments: Any) -> PPD:
    torch.manual_seed(0)
    env = make_env("Pusher", 3, seed=0, blind=True)
    family = "squashed_gaussian" if teacher is None else teacher.description.family
    config = StudentConfig(mode=mode, family=family, precision="float32")
    settings = {"n_steps": 8, "batch_size": 12, "seed": 1, "device": "cpu", **arguments}
    return PPD(StudentPolicy, env, teacher, policy_kwargs={"config": config}, **settings)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_ppo_equals_sb3s(env_id: str) -> None:
    """Same seed, same environments, two updates: the parameters are SB3's."""
    models = []
    for algorithm in (PPO, PPD):
        env = make_vec_env(env_id, 2, seed=7, env_kwargs={})
        extra: Any = {} if algorithm is PPO else {"distill_lambda": 0.0}
        model = algorithm("MlpPolicy", env, **PPO_ARGUMENTS, **extra)
        models.append(model.learn(128))
    theirs, ours = (dict(model.policy.named_parameters()) for model in models)
    assert theirs.keys() == ours.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=2e-6, msg=name)


def test_truncation_is_bootstrapped_like_sb3s() -> None:
    """Pendulum ends by its time limit alone: with a limit of 5 every rollout has many."""
    models = []
    for algorithm in (PPO, PPD):
        env = make_vec_env(
            lambda: gym.make("Pendulum-v1", max_episode_steps=5), 2, seed=7, vec_env_cls=None
        )
        extra: Any = {} if algorithm is PPO else {"distill_lambda": 0.0}
        models.append(algorithm("MlpPolicy", env, **PPO_ARGUMENTS, **extra).learn(64))
    theirs, ours = (model.rollout_buffer for model in models)
    # SB3 keeps (n_steps, n_envs) until it flattens for the minibatches, environment by environment.
    np.testing.assert_allclose(ours.returns.T.ravel(), theirs.returns.ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["squashed_gaussian", "gaussian"])
@pytest.mark.parametrize("mode", ["State", "ImpaalaSmall"])
def test_ratio_is_one_at_the_first_minibatch(family: str, mode: str) -> None:
    model = pusher_ppd(tiny_teacher(family), mode, n_epochs=1)
    points = recorded(model, Recorder(), 24 * 2)
    assert len(points) == 2
    for point in points:
        assert point["train/ratio_first"] == pytest.approx(1.0, abs=1e-4)


def test_the_callers_policy_kwargs_are_left_alone() -> None:
    given: dict[str, Any] = {}
    env = make_env("Pusher", 1, seed=0, blind=True)
    for family in ("gaussian", "squashed_gaussian"):  # the second is not the first one's student
        model = PPD(StudentPolicy, env, tiny_teacher(family), policy_kwargs=given, device="cpu")
        assert isinstance(model.policy, StudentPolicy)
        assert model.policy.config.family == family
        assert given == {}


def test_an_update_asks_for_its_figures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number that is asked for makes a GPU wait, so more minibatches ask for no more."""
    asked: list[str] = []
    for name in ("item", "tolist"):
        method = getattr(torch.Tensor, name)

        def counted(tensor: torch.Tensor, method: Any = method, name: str = name) -> Any:
            if "/Algorithm/" in sys._getframe(1).f_code.co_filename:  # not torch's own
                asked.append(name)
            return method(tensor)

        monkeypatch.setattr(torch.Tensor, name, counted)
    numbers = []
    for n_epochs in (1, 4):
        asked.clear()
        recorded(pusher_ppd(tiny_teacher(), n_epochs=n_epochs), Recorder(), 24)
        numbers.append(len(asked))
    assert numbers[0] == numbers[1] < 6


def test_distillation_lowers_the_kl_and_leaves_the_teacher_alone() -> None:
    teacher = tiny_teacher()
    before = copy.deepcopy(teacher.state_dict())
    model = pusher_ppd(teacher, learning_rate=3e-3)
    points = recorded(model, Recorder(), 24 * 40)
    kl = [point["rollout/kl"] for point in points]
    assert kl[-1] < 0.75 * kl[0]
    assert points[-1]["rollout/action_accuracy"] > points[0]["rollout/action_accuracy"]
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    # 40 rollouts of 24 samples, 4 epochs, minibatches of 12.
    assert points[-1]["time/gradient_steps"] == 40 * 4 * 2
    assert points[-1]["time/env_steps"] == 24 * 40


def test_losses_equal_a_float64_reference() -> None:
    """One minibatch, every term, written out in NumPy."""
    model = pusher_ppd(tiny_teacher("gaussian"), distill_lambda=3.0, ent_coef=0.05)
    rng = np.random.default_rng(0)
    n, a = 10, 7
    mean, teacher_mean, raw = rng.normal(size=(3, n, a))
    log_std, teacher_log_std = 0.3 * rng.normal(size=(2, n, a))
    old_log_prob, advantages, returns, values = rng.normal(size=(4, n)) * [[3], [1], [1], [1]]
    s, t = np.exp(log_std), np.exp(teacher_log_std)
    log_prob = (-0.5 * ((raw - mean) / s) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(1)
    old_log_prob = log_prob + 0.3 * old_log_prob
    ratio = np.exp(log_prob - old_log_prob)
    normal = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)
    g = np.where(normal >= 0, 1.2 * normal, 0.8 * normal)
    kl = (np.log(s / t) + (t**2 + (teacher_mean - mean) ** 2) / (2 * s**2) - 0.5).sum(1)
    entropy = (log_std + 0.5 + 0.5 * np.log(2 * np.pi)).sum(1)
    expected = (
        -np.minimum(ratio * normal, g).mean()
        + 0.5 * ((values - returns) ** 2).mean()
        - 0.05 * entropy.mean()
        + 3.0 * (kl * np.maximum(ratio, 0.8)).mean()
    )
    t64 = torch.as_tensor
    batch = Minibatch(
        obs={},
        raw_actions=t64(raw),
        old_log_prob=t64(old_log_prob),
        old_values=t64(values),
        advantages=t64(advantages),
        returns=t64(returns),
        teacher=DiagGaussian(t64(teacher_mean), t64(teacher_log_std)),
    )
    losses = model.minibatch_losses(DiagGaussian(t64(mean), t64(log_std)), t64(values), batch)
    assert losses.total.item() == pytest.approx(expected, rel=1e-12)


def test_lambda_follows_its_schedule() -> None:
    model = pusher_ppd(tiny_teacher(), distill_lambda=lambda remaining: 4 * remaining)
    points = recorded(model, Recorder(), 24 * 4)
    # The progress that remains after each of four rollouts: 3/4, 2/4, 1/4, 0.
    assert [p["train/lambda"] for p in points] == pytest.approx([3.0, 2.0, 1.0, 0.0])


def test_a_rate_that_falls_to_zero_is_not_below_it_beyond_the_budget() -> None:
    """40 of 48 env steps: with a rate below 0, the last update would raise the loss."""
    seen: list[float] = []

    def rate(remaining: float) -> float:
        seen.append(remaining)
        return 1e-3 * remaining

    model = pusher_ppd(tiny_teacher(), learning_rate=rate, clip_range=lambda left: 0.1 + 0.1 * left)
    model.learn(40)
    assert model.num_timesteps == 48
    assert seen[-1] == model.policy.optimizer.param_groups[0]["lr"] == 0.0
    model.env.close()  # pyright: ignore[reportOptionalMemberAccess]


def test_teacher_is_asked_once_a_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = tiny_teacher()
    calls = []
    original = teacher.distribution

    def counted(observation: Any) -> Any:
        calls.append(len(observation["state"]))
        return original(observation)

    monkeypatch.setattr(teacher, "distribution", counted)
    pusher_ppd(teacher).learn(24 * 2)
    assert calls == [24, 24]


def test_the_teachers_value_is_computed_for_the_distillations_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for algorithm, expected in ((PPD, []), (StudentDistill, [24])):
        teacher, calls = tiny_teacher(), []

        def counted(
            observation: Any, value: Any = teacher.value, calls: list[int] = calls
        ) -> torch.Tensor:
            calls.append(len(observation["state"]))
            return value(observation)

        monkeypatch.setattr(teacher, "value", counted)
        env = make_env("Pusher", 3, seed=0, blind=True)
        config = StudentConfig(mode="State", family="squashed_gaussian")
        kwargs: Any = {"policy_kwargs": {"config": config}, "device": "cpu"}
        algorithm(StudentPolicy, env, teacher, n_steps=8, **kwargs).learn(24)
        assert calls == expected


def test_saved_model_has_no_teacher_and_says_so(tmp_path: Path) -> None:
    model = pusher_ppd(tiny_teacher())
    model.learn(24)
    model.save(tmp_path / "model.zip")
    loaded = PPD.load(tmp_path / "model.zip", env=model.get_env())
    env: Any = model.get_env()
    obs = env.reset()
    np.testing.assert_array_equal(
        model.predict(obs, deterministic=True)[0], loaded.predict(obs, deterministic=True)[0]
    )
    with pytest.raises(UserError, match="PPD has no teacher"):
        loaded.learn(24)
    loaded.teacher = tiny_teacher()
    loaded.learn(24)


def test_a_callback_can_end_the_training() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 5

    model = pusher_ppd(tiny_teacher())
    model.learn(24 * 10, Stop())
    assert model.num_timesteps == 15


# -- what must not be trained on ---------------------------------------------------------------


def test_nan_from_the_teacher_stops_before_the_weights_change() -> None:
    teacher = tiny_teacher()
    model = pusher_ppd(teacher)
    teacher.head.bias.fill_(float("nan"))
    before = [p.clone() for p in model.policy.parameters()]
    with pytest.raises(UserError, match="teacher's mean is not finite at environment step 24"):
        model.learn(24 * 4)
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_nan_in_the_loss_names_its_step_and_keeps_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = pusher_ppd(tiny_teacher())
    original, weights = model.minibatch_losses, []

    def spoiled(*arguments: Any) -> Any:
        losses = original(*arguments)
        if model.gradient_steps < 3:
            return losses
        weights.extend(p.clone() for p in model.policy.parameters())
        return dataclasses.replace(losses, total=losses.total * float("nan"))

    monkeypatch.setattr(model, "minibatch_losses", spoiled)
    with pytest.raises(UserError, match="loss is not finite at gradient step 3"):
        model.learn(24)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.policy.parameters(), strict=True))


def test_families_that_differ_are_refused_by_name() -> None:
    env = make_env("Pusher", 2, seed=0, blind=True)
    config = StudentConfig(mode="State", family="gaussian")
    with pytest.raises(UserError, match="squashed_gaussian, the student's gaussian"):
        PPD(StudentPolicy, env, tiny_teacher(), policy_kwargs={"config": config}, device="cpu")


@pytest.mark.parametrize("changes", [{"state_dim": 22}, {"action_dim": 6}, {"bound": 1.0}])
def test_teacher_of_another_shape_is_refused_with_both_spaces(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"(?s)does not fit.*teacher: .*environment: "):
        pusher_ppd(tiny_teacher(**changes))


def test_teacher_of_another_task_is_refused() -> None:
    with pytest.raises(UserError, match="teacher of Reacher; the task is Pusher"):
        pusher_ppd(tiny_teacher(task="Reacher"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill_lambda": -1.0}, "`distill_lambda` -1.0 must be finite and at least 0"),
        ({"distill_lambda": float("inf")}, "`distill_lambda` inf"),
        ({"kl_direction": "sideways"}, "not forward or reverse"),
        ({"n_steps": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` 0.0"),
        ({"gamma": 3.0}, r"`gamma` 3.0 must be in \[0, 1\]"),
        ({"gae_lambda": -1.0}, "`gae_lambda` -1.0"),
        ({"clip_range": 0.0}, "`clip_range` 0.0"),
        ({"ent_coef": float("nan")}, "`ent_coef` nan"),
        ({"max_grad_norm": 0.0}, "`max_grad_norm` 0.0"),
    ],
)
def test_bad_configuration(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PPDConfig(**changes)


def test_a_misspelt_direction_is_refused_by_the_class_too() -> None:
    with pytest.raises(UserError, match="kl_direction 'Forward' is not forward or reverse"):
        pusher_ppd(tiny_teacher(), kl_direction="Forward")


def test_a_lambda_that_rises_without_a_teacher_is_no_silent_ppo() -> None:
    """0 at both ends, where `learn` asks whether there has to be one."""
    model = pusher_ppd(None, distill_lambda=lambda remaining: 4 * remaining * (1 - remaining))
    with pytest.raises(UserError, match="there is no teacher"):
        model.learn(48)
    model.env.close()  # pyright: ignore[reportOptionalMemberAccess]


def test_a_students_family_follows_its_teacher() -> None:
    for family in ("gaussian", "squashed_gaussian"):
        env = make_env("Pusher", 2, seed=0, blind=True)
        model = PPD(StudentPolicy, env, tiny_teacher(family), n_steps=2, device="cpu")
        assert isinstance(model.policy, StudentPolicy)
        assert model.policy.config.family == family
        env.close()
