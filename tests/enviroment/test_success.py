"""Success of an episode, read from the info of its final step."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from Enviroment.custom import custom_task
from Enviroment.make import make_state_env
from Enviroment.success import read_success
from Evaluation.evaluate.episodes import Obs, run_episodes
from Evaluation.evaluate.figures import evaluate_student, figures_table
from tests.support.environments.own_envs import PointGoal

_OWN = "tests.support.environments.own_envs"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        ({"distance": 0.1}, None),
        ({"is_success": np.float32(1.0)}, True),
        ({"success": 0.0}, False),
        ({"success": np.bool_(True)}, True),
        ({"success": np.array([1.0])}, True),
        ({"is_success": False, "success": True}, False),
        ({"is_success": None, "success": True}, True),
        ({"success": "yes"}, None),
        ({"is_success": float("nan")}, None),
        ({"is_success": np.array([np.nan])}, None),
    ],
)
def test_infos_of_known_environments(info: dict, expected: bool | None) -> None:
    assert read_success(info) is expected


def towards_goal(obs: Obs) -> np.ndarray:
    """Go to the goal if it is to the right of the point, else stand still."""
    assert isinstance(obs, np.ndarray)
    achieved, desired = obs[:, :2], obs[:, 2:4]
    gap = np.where(desired[:, :1] > achieved[:, :1], desired - achieved, 0.0)
    return np.clip(gap / 0.2, -1, 1).astype(np.float32)


def test_success_is_that_of_gymnasiums_own_episode() -> None:
    task = custom_task(f"{_OWN}:PointGoal-v0")
    env = make_state_env(task, 3, 0)
    stats = run_episodes(towards_goal, env, task, 100, 8)
    env.close()
    by_hand = []
    single = gym.make("PointGoal-v0")
    for seed in range(100, 108):
        obs, _ = single.reset(seed=seed)
        ended, info = False, {}
        while not ended:
            # Dict spaces sort their keys: achieved_goal, desired_goal, observation.
            state = np.concatenate([obs["achieved_goal"], obs["desired_goal"], obs["observation"]])
            obs, _, terminated, truncated, info = single.step(towards_goal(state[None])[0])
            ended = terminated or truncated
        gap = np.linalg.norm(obs["achieved_goal"] - obs["desired_goal"])
        assert bool(info["is_success"]) == (gap < PointGoal.NEAR)
        by_hand.append(gap < PointGoal.NEAR)
    assert stats.success is not None
    assert stats.success.tolist() == by_hand
    assert 0 < sum(by_hand) < 8
    summary = stats.summary("eval/")
    assert summary["eval/success"] == sum(by_hand) / 8
    assert "eval/near" not in summary


def test_only_the_final_step_counts() -> None:
    task = custom_task(f"{_OWN}:Door-v0")
    env = make_state_env(task, 2, 0)
    step = iter(range(10**6))

    def opens_until_the_last_step(obs: Obs) -> np.ndarray:
        return np.array([0 if next(step) % 10 == 9 else 1] * 2)

    stats = run_episodes(opens_until_the_last_step, env, task, 0, 2)
    assert stats.success is not None and not stats.success.any()
    assert stats.returns.tolist() == [9.0, 9.0]
    stats = run_episodes(lambda obs: np.ones(2, int), env, task, 0, 2)
    assert stats.success is not None and stats.success.all()
    env.close()


def test_sb3_reads_success_where_it_expects_it() -> None:
    env = make_state_env(custom_task(f"{_OWN}:Door-v0"), 2, 0)
    env.reset()
    infos: list[dict] = []
    for _ in range(10):
        *_, infos = env.step(np.array([0, 1]))
    env.close()
    assert [info["is_success"] for info in infos] == [False, True]


def test_a_task_that_tells_nothing_has_no_success() -> None:
    env = make_state_env("Hopper", 1, 0)
    env.reset()
    info: dict = {}
    while not info:
        *_, (info,) = env.step(np.ones((1, 3), np.float32))
    env.close()
    assert "is_success" not in info


def test_figures_compare_with_the_teachers_success() -> None:
    task = custom_task(f"{_OWN}:Door-v0")
    env = make_state_env(task, 1, 0)
    known = {"teacher": {"evaluation": [1.0, 1.0, 0.0, 0.0]}}
    returns = {"teacher": {"evaluation": [9.0] * 4}}
    figures = evaluate_student(
        lambda obs: np.ones(len(obs), int), env, task, returns, 4, successes=known
    )
    env.close()
    assert (figures["success"], figures["teacher_success"]) == (1.0, 0.5)
    table = figures_table(figures, task)
    labels, values = (list(column.cells) for column in table.columns)
    assert dict(zip(labels, values, strict=True))["success of teacher"] == "50%"
