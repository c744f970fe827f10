"""The names and calls of the paper's library, sb3_distill, on Gymnasium's own tasks."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy

from Algorithm import PPD, ProximalPolicyDistillation, StudentDistill, TeacherDistill
from Common.errors import UserError
from Models.teacher.policy import Teacher, save_teacher

SMALL: dict[str, Any] = {"n_steps": 16, "device": "cpu", "seed": 0}
ALGORITHMS = [ProximalPolicyDistillation, StudentDistill, TeacherDistill]

# As the library's own example goes, on a task of MuJoCo whose observations are normalised.
EXAMPLE = """
from sb3_distill import ProximalPolicyDistillation
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

env = VecNormalize(make_vec_env("Hopper-v5", n_envs=2, seed=100))
PPO("MlpPolicy", env, n_steps=64, n_epochs=2).learn(256).save("teacher_model.ckpt")
teacher_model = PPO.load("teacher_model.ckpt", env=env)

student_model = ProximalPolicyDistillation(
    "MlpPolicy",
    env,
    verbose=1,
    policy_kwargs={"net_arch": [32, 32]},
    n_steps=128,
    batch_size=64,
    n_epochs=5,
    learning_rate=2.5e-4,
    gamma=0.999,
    ent_coef=0.01,
    tensorboard_log="tensorboard/",
)
student_model.set_teacher(teacher_model, distill_lambda=1)
student_model.learn(total_timesteps=512, tb_log_name="Hopper_PPD")
student_model.save("distilled_model.ckpt")
env.training = False
mean_reward, _ = evaluate_policy(student_model, student_model.get_env(), n_eval_episodes=1)
"""


@pytest.fixture(scope="module")
def teacher() -> PPO:
    return PPO("MlpPolicy", make_vec_env("Pendulum-v1", 2, seed=1), batch_size=16, **SMALL)


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "Algorithm.on_policy.sb3_arguments.find_spec",
        lambda name: None if name == "tensorboard" else find_spec(name),
    )


def pendulum(algorithm: Any, **arguments: Any) -> Any:
    extra = {} if issubclass(algorithm, StudentDistill) else {"batch_size": 16, "n_epochs": 2}
    env = make_vec_env("Pendulum-v1", 2, seed=2)
    return algorithm("MlpPolicy", env, **{**SMALL, **extra, **arguments})


@pytest.mark.usefixtures("no_tensorboard")
def test_the_example_runs_with_only_the_import_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = EXAMPLE.replace("from sb3_distill import", "from Algorithm import")
    names: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="tensorboard is not installed"):
        exec(compile(script, "example", "exec"), names)
    student = names["student_model"]
    assert student.num_timesteps == 512
    assert student.gradient_steps == 2 * 5 * 4  # rollouts, epochs, minibatches of 256 samples
    assert student.current_lambda() == 1
    assert np.isfinite(names["mean_reward"])
    assert (tmp_path / "distilled_model.ckpt").exists()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_live_model_teaches(algorithm: Any, teacher: PPO, tmp_path: Path) -> None:
    before = [p.clone() for p in teacher.policy.parameters()]
    student = pendulum(algorithm, policy_kwargs={"net_arch": [32]})
    with pytest.raises(UserError, match="has no teacher"):
        student.learn(64)
    student.set_teacher(teacher)
    student.learn(64)
    assert student.num_timesteps == 64
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.policy.parameters(), strict=True))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_loaded_model_says_that_it_has_no_teacher(
    algorithm: Any, teacher: PPO, tmp_path: Path
) -> None:
    student = pendulum(algorithm)
    student.set_teacher(teacher)
    student.learn(32).save(tmp_path / "student.zip")
    env = student.get_env()
    loaded = algorithm.load(tmp_path / "student.zip", env=env)
    obs = env.reset()
    expected, _ = student.predict(obs, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    weights = [p.clone() for p in loaded.policy.parameters()]
    with pytest.raises(UserError, match=r"has no teacher.*set_teacher"):
        loaded.learn(32)
    assert all(torch.equal(a, b) for a, b in zip(weights, loaded.policy.parameters(), strict=True))
    loaded.set_teacher(teacher)
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 64


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bundle_teaches_what_the_live_model_does(
    algorithm: Any, teacher: PPO, tmp_path: Path
) -> None:
    frozen = Teacher.from_sb3(teacher)
    save_teacher(tmp_path / "teacher", frozen.state_dict(), frozen.description, {})
    students = []
    for source in (teacher, Teacher.load(tmp_path / "teacher")):
        student = pendulum(algorithm)
        student.set_teacher(source)
        students.append(student.learn(64))
    for a, b in zip(*(student.policy.parameters() for student in students), strict=True):
        assert torch.equal(a, b)


def test_lambda_may_be_a_function_of_env_steps(teacher: PPO) -> None:
    student = pendulum(ProximalPolicyDistillation)
    student.set_teacher(teacher, distill_lambda=lambda steps: 3 - steps / 32, kl_mode="reverse")
    student.learn(32)
    assert student.current_lambda() == 2.0  # after 32 env steps
    assert student.kl_direction == "reverse"
    with pytest.raises(UserError, match="at least 0"):
        student.learn(32 * 8)


def test_a_lambda_that_is_no_number_is_no_silent_ppo(teacher: PPO) -> None:
    student = pendulum(ProximalPolicyDistillation)
    with pytest.raises(UserError, match="`distill_lambda` nan"):
        student.set_teacher(teacher, distill_lambda=float("nan"))
    student.set_teacher(teacher, distill_lambda=lambda steps: float("nan") if steps else 1.0)
    with pytest.raises(UserError, match="lambda is nan after 32 env steps"):
        student.learn(32)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"distill_lambda": -0.5}, "distill_lambda` -0.5"),
        ({"distill_lambda": lambda steps: -1}, "distill_lambda` -1"),
        ({"kl_mode": "both"}, "not forward or reverse"),
    ],
)
def test_what_set_teacher_refuses(teacher: PPO, arguments: dict[str, Any], match: str) -> None:
    student = pendulum(ProximalPolicyDistillation)
    with pytest.raises(UserError, match=match):
        student.set_teacher(teacher, **arguments)
    assert student.teacher is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_teacher_of_other_spaces_is_refused(algorithm: Any, teacher: PPO) -> None:
    student = algorithm("MlpPolicy", make_vec_env("CartPole-v1", 2), **SMALL)
    with pytest.raises(UserError, match="does not fit"):
        student.set_teacher(teacher)
    assert student.teacher is None


def test_arguments_order_and_defaults_are_those_of_sb3s_ppo() -> None:
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(cls.__init__).parameters.values()]
        for cls in (ProximalPolicyDistillation, PPO)
    )
    assert ours == theirs


@pytest.mark.parametrize("extra", [{"clip_range_vf": 0.05}, {"target_kl": 1e-4}])
def test_ppo_equals_sb3s_with_its_rarer_arguments(extra: dict[str, float]) -> None:
    arguments = {**SMALL, "batch_size": 16, "n_epochs": 4, "learning_rate": 3e-3, **extra}
    env = make_vec_env("Pendulum-v1", 2, seed=7)
    theirs = PPO("MlpPolicy", env, **arguments).learn(64)
    env = make_vec_env("Pendulum-v1", 2, seed=7)
    ours = PPD(
        *("MlpPolicy", env),
        **{"gamma": 0.99, "gae_lambda": 0.95, "distill_lambda": 0.0, **arguments},
    ).learn(64)
    # Two rollouts of 2 minibatches, 4 epochs: fewer only where the target ended an update.
    assert (ours.gradient_steps < 16) == ("target_kl" in extra)
    for a, b in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)


class OwnPolicy(ActorCriticPolicy):
    """A user's own, with another activation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "activation_fn": torch.nn.ELU})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_policy_class_of_ones_own(algorithm: Any, teacher: PPO) -> None:
    student = algorithm(OwnPolicy, make_vec_env("Pendulum-v1", 2, seed=2), **SMALL)
    student.set_teacher(teacher)
    student.learn(32)
    assert any(isinstance(layer, torch.nn.ELU) for layer in student.policy.modules())
    assert student.num_timesteps == 32


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("policy", "kwargs", "match"),
    [
        ("MlpLstmPolicy", None, "no policy 'MlpLstmPolicy'. Choose one of .*MlpPolicy"),
        (SACPolicy, None, "SACPolicy is not an ActorCriticPolicy"),
        (torch.nn.Linear(1, 1), None, "Linear.* is not an ActorCriticPolicy"),
        (RecurrentActorCriticPolicy, None, "RecurrentActorCriticPolicy is recurrent"),
        ("MlpPolicy", {"use_sde": True}, "gSDE"),
    ],
)
def test_policies_that_no_student_can_have(
    algorithm: Any, policy: Any, kwargs: dict[str, Any] | None, match: str
) -> None:
    with pytest.raises(UserError, match=match):
        algorithm(policy, "Pendulum-v1", policy_kwargs=kwargs, **SMALL)


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"use_sde": True}, "gSDE"),
        ({"rollout_buffer_class": object}, "its own rollout buffer"),
        ({"rollout_buffer_kwargs": {"a": 1}}, "its own rollout buffer"),
    ],
)
def test_arguments_without_an_equivalent(argument: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        ProximalPolicyDistillation("MlpPolicy", "Pendulum-v1", **SMALL, **argument)


@pytest.mark.usefixtures("no_tensorboard")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_tensorboard_a_warning_says_so(algorithm: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="tensorboard is not installed"):
        student = pendulum(algorithm, tensorboard_log=str(tmp_path / "logs"))
    assert student.tensorboard_log is None
