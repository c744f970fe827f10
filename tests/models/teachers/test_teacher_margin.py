"""Means of teachers beyond the bounds of the actions, and what datasets keep of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

from Common.errors import UserError
from Distillation.starting.teacher_data import check_labels
from Enviroment.make import make_state_env
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher


@pytest.fixture(scope="module")
def agents() -> dict[str, Teacher]:
    env = make_state_env("Pusher", 1, 0)
    return {
        algorithm.__name__: Teacher.from_sb3(algorithm("MlpPolicy", env, seed=1, device="cpu"))
        for algorithm in (PPO, SAC)
    }


def with_margin(teacher: Teacher, margin: float | None) -> Teacher:
    return Teacher(teacher.description, teacher.state_dict(), mean_margin=margin)


def test_means_beyond_the_margin_are_moved_without_another_action(agents) -> None:
    """Actions of Pusher end at -2 and 2; the head's weights times 1,000 reach far beyond."""
    tensors, description = agents["PPO"].state_dict(), agents["PPO"].description
    far = {**tensors, "head.weight": 1_000 * tensors["head.weight"]}
    as_it_is = Teacher(description, far, mean_margin=None)
    moved = Teacher(description, far, mean_margin=0.5)
    states = np.random.default_rng(0).normal(0.0, 3.0, (256, 23)).astype(np.float32)
    seen = torch.as_tensor(states)
    theirs, ours = as_it_is.distribution(seen), moved.distribution(seen)
    assert (theirs.mode().abs() > 4).any(dim=0).all()
    reach = 0.5 * np.exp(theirs.params()["log_std"].numpy())
    expected = np.clip(theirs.mode().numpy(), -2 - reach, 2 + reach)
    np.testing.assert_allclose(ours.mode(), expected, rtol=1e-6)
    np.testing.assert_array_equal(moved.predict(states)[0], as_it_is.predict(states)[0])
    copied = moved.described_as(moved.description)
    assert (copied.min_std, copied.mean_margin) == (moved.min_std, 0.5)
    with pytest.raises(UserError, match=r"mean_margin -1 must be at least 0, or None"):
        Teacher(description, tensors, mean_margin=-1)


def test_labels_name_the_margin_only_if_they_depend_on_it(agents) -> None:
    """So that older datasets of other teachers, which have none, are still theirs."""
    assert TeacherLabeller(agents["PPO"]).identity["mean_margin"] == 1.0
    assert "mean_margin" not in TeacherLabeller(agents["SAC"]).identity
    assert "mean_margin" not in TeacherLabeller(with_margin(agents["PPO"], None)).identity


@pytest.mark.parametrize(
    ("labelled", "asked", "message"),
    [
        (None, 1.0, "labelled without --clip_teacher_mean. Add --no_clip_teacher_mean, or"),
        (1.0, None, "labelled with --clip_teacher_mean. Leave out --no_clip_teacher_mean, or"),
    ],
)
def test_a_dataset_labelled_with_another_margin_is_refused(
    agents, labelled: float | None, asked: float | None, message: str
) -> None:
    was, now = (with_margin(agents["PPO"], margin) for margin in (labelled, asked))
    recipe = SimpleNamespace(teacher=TeacherLabeller(was).identity)
    dataset: Any = SimpleNamespace(folder="data", manifest=SimpleNamespace(recipe=recipe))
    check_labels(dataset, was)
    with pytest.raises(UserError, match=message):
        check_labels(dataset, now)
