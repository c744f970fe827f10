"""`--teacher_critic`: the student's critic begins as the teacher's, in the scale of its rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from Common.places import SHIPPED
from Distillation.starting.teacher_critic import give_critic, keep_reward_scale, with_critic_of
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Models.student.bundle import load_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from Models.teacher.bundle import save_teacher
from Models.teacher.policy import Teacher
from tests.support.short_run import failure, write_teacher

PPO = SHIPPED / "Pusher" / "teachers" / "ppo"
FLAGS = ("--PPD", "--mode", "ImpaalaSmall", "--critic_on_state", "--teacher_critic")


def test_before_training_the_values_are_the_teachers() -> None:
    """Those of the teacher are in the task's rewards: the student's times the scale of rewards."""
    teacher = Teacher.load(PPO)
    mean, std = (statistic.numpy() for statistic in teacher.normaliser())
    env = make_env(TASKS["Pusher"], 1, 0, blind=True)
    student = StudentPolicy(
        env.observation_space,
        env.action_space,
        lambda _: 1e-3,
        config=with_critic_of(teacher.description, StudentConfig(critic_on_state=True)),
        group_mean={"state": mean.tolist()},
        group_std={"state": std.tolist()},
    )
    env.close()
    give_critic(teacher, student)
    # Some are beyond 10 standard deviations, where both are clipped.
    states = torch.as_tensor(mean + 4 * std * np.random.default_rng(0).normal(size=(500, 23)))
    obs = {
        "frame": torch.zeros(500, *student.observation_space["frame"].shape, dtype=torch.uint8),  # pyright: ignore[reportIndexIssue]
        "proprio": states[:, :17].float(),
        "state": states.float(),
    }
    with torch.no_grad():
        ours = student.predict_values(obs)[:, 0] * teacher.description.reward_scale
    theirs = teacher.value(states.float())
    assert theirs is not None
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    assert theirs.std() > 1


def test_rewards_are_divided_by_the_scale_of_the_teachers() -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), norm_obs=False)
    description = dataclasses.replace(Teacher.load(PPO).description, reward_scale=4.0)
    keep_reward_scale(env, description)
    env.reset()
    for _ in range(3):  # not by statistics of what has been seen
        _, rewards, _, _ = env.step(np.zeros((1, 1), np.float32))
        assert rewards == pytest.approx(env.get_original_reward() / 4.0)


def test_a_student_keeps_the_critic_in_its_bundle(
    pusher: Callable[..., Path], teacher: Path
) -> None:
    """With a learning rate of nothing, the student that is saved is the one it began with."""
    run = pusher(*FLAGS, "--gamma", "0.99", "--learning_rate", "1e-30")
    student, critic = load_student(run / "student"), Teacher.load(teacher).critics[0]
    for name, weights in critic.state_dict().items():
        assert torch.equal(student.critic.state_dict()[name], weights)
    assert student.config.critic_head == (8,)
    assert student.config.critic_activation == "ReLU"


def test_a_trained_student_begins_with_the_critic_of_its_teacher(
    pusher: Callable[..., Path], teacher: Path, tmp_path: Path
) -> None:
    begun = pusher("--PPD", "--mode", "State")
    begun = begun.rename(tmp_path / "begun")
    again = pusher(
        *("--PPD", "--mode", "State", "--init_from", str(begun), "--teacher_critic"),
        *("--gamma", "0.99", "--learning_rate", "1e-30"),
    )
    before, after = (load_student(run / "student") for run in (begun, again))
    critic = Teacher.load(teacher).critics[0]
    first = "0.weight"
    assert torch.equal(after.actor.get_parameter(first), before.actor.get_parameter(first))
    assert torch.equal(after.critic.get_parameter(first), critic.get_parameter(first))


# -- bad input ------------------------------------------------------------------------------------


def test_another_discount_is_refused(teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failure(capsys, *FLAGS, "--teacher", str(teacher))
    assert "has a discount of 0.99, this run 0.999" in said
    assert "Give --gamma 0.99" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"value_kind": "action", "algo": "sac"},
        {"value_kind": None, "algo": "ars", "n_critics": 0},
        {"normaliser_clip": 5.0},
        {"n_critics": 2},
    ],
)
def test_a_teacher_with_another_critic_is_refused(
    changes: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Teacher.load(write_teacher(tmp_path / "plain"))
    tensors = {n: t for n, t in tiny.state_dict().items() if not n.startswith("critics")}
    inputs = 30 if changes.get("value_kind") == "action" else 23
    for k in range(changes.get("n_critics", 1)):  # pyright: ignore[reportArgumentType, reportCallIssue]
        shapes = {"0.weight": (8, inputs), "0.bias": (8,), "2.weight": (1, 8), "2.bias": (1,)}
        tensors |= {f"critics.{k}.{name}": torch.zeros(s) for name, s in shapes.items()}
    description = dataclasses.replace(tiny.description, **changes)  # pyright: ignore[reportArgumentType]
    save_teacher(tmp_path / "other", tensors, description, {})
    said = failure(capsys, *FLAGS, "--gamma", "0.99", "--teacher", str(tmp_path / "other"))
    assert "has no critic of one value of the normalised state" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--mode", "ImpaalaSmall", "--teacher_critic"), "add --critic_on_state"),
        (("--PPO", "--teacher_critic"), "only with --PPD"),
    ],
)
def test_a_critic_that_does_not_see_the_state_is_refused(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, *flags)
