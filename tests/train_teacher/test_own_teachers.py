"""Train_Teacher/Custom.py: teachers of users' own environments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from Common.errors import UserError
from Common.places import ROOT
from Common.runs.files import read_metrics
from Distillation.custom_run import main_custom as distil_custom
from Enviroment.custom import custom_task
from Enviroment.task import Task
from Evaluation.metrics import METRICS
from Evaluation.plots.run_curves import step_title
from Models.teacher.adoption import adopt
from Models.teacher.policy import Teacher
from tests.support.environments.own_envs import PointGoal
from tests.support.refusal import refusal
from tests.support.short_run import SHORT
from Train_Teacher.agent import make_agent, make_teacher_env, normalise
from Train_Teacher.checkpoint import Progress, find_newest, restore, save_checkpoint
from Train_Teacher.custom_train import main_custom
from Train_Teacher.settings.config import SACTeacherConfig, TQCTeacherConfig
from Train_Teacher.settings.defaults import default_run
from Train_Teacher.settings.goals import check_goals, put_off_training
from Train_Teacher.train import _LOG_EVERY

GOAL, DOOR = (f"tests.support.environments.own_envs:{name}-v0" for name in ("PointGoal", "Door"))
_QUICK = ("--eval_every", "60", "--eval_episodes", "2", "--baseline_episodes", "3")
_SMALL = ("--num_envs", "2", "--net_arch", "8", "--wandb", "disabled", "--device", "cpu")
_OFF_POLICY = ("--learning_starts", "20", "--batch_size", "8", "--gradient_steps", "1")
_HER = SACTeacherConfig(
    num_envs=2,
    learning_starts=20,
    batch_size=8,
    gradient_steps=1,
    net_arch=(8,),
    hindsight_goals=4,
    buffer_size=1000,
)
_ON_POLICY = ("--n_steps", "30", "--batch_size", "30", "--n_epochs", "1")


def train(env_id: str, output: Path, total: int, *more: str) -> Path:
    total_flags = ("--total_timesteps", str(total), "--output", str(output))
    main_custom(["--env_id", env_id, *total_flags, *_QUICK, *_SMALL, *more])
    return output


@pytest.mark.parametrize("algo", ["sac", "tqc"])
def test_a_goal_conditioned_teacher_by_her(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_LOG_EVERY, algo, 4)
    folder = train(GOAL, tmp_path / "run", 120, "--algo", algo, *_OFF_POLICY)
    teacher = Teacher.load(folder / "teacher")
    d = teacher.description
    assert (d.task, d.algo) == ("PointGoal-v0", algo)
    assert d.group_names == ("achieved_goal", "desired_goal", "observation")
    assert d.baselines.keys() == d.successes.keys() == {"teacher", "random", "nothing"}
    # Each step rewards -1, or 0 within the goal's reach: doing nothing succeeds or never does.
    nothing = d.baselines["nothing"]["evaluation"], d.successes["nothing"]["evaluation"]
    assert all(success == (reward == 0.0) for reward, success in zip(*nothing, strict=True))
    settings = json.loads((folder / "config.json").read_text())["config"]["run"]["settings"]
    assert (settings["hindsight_goals"], settings["gamma"]) == (4, 0.95)
    points = read_metrics(folder)
    assert any("eval/success" in point for point in points)
    # SAC logs some episodes, in the middle of a rollout; the curves are against env steps.
    assert any("rollout/ep_rew_mean" in point for point in points)
    assert step_title(points) == METRICS["env_steps"].label
    # A student's environment has one vector, in the same order.
    one = adopt(teacher, custom_task(GOAL))
    state = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    groups = {
        "achieved_goal": state[:, :2],
        "desired_goal": state[:, 2:4],
        "observation": state[:, 4:],
    }
    np.testing.assert_allclose(one.predict(state)[0], teacher.predict(groups)[0], atol=1e-6)


def test_a_run_with_her_goes_on(tmp_path: Path) -> None:
    folder = train(GOAL, tmp_path / "run", 60, "--algo", "sac", *_OFF_POLICY)
    found = find_newest(folder / "checkpoints")
    assert found is not None
    train(GOAL, folder, 120, "--algo", "sac", *_OFF_POLICY, "--resume")
    steps = [point["step"] for point in read_metrics(folder) if "eval/return" in point]
    assert steps == [0, 60, 120]


def test_a_run_with_her_goes_on_from_before_its_first_episode(tmp_path: Path) -> None:
    often = ("--algo", "sac", *_OFF_POLICY, "--eval_every", "12")
    folder = train(GOAL, tmp_path / "run", 24, *often)
    for path in sorted((folder / "checkpoints").glob("step_*"))[1:]:  # as if stopped at step 12
        shutil.rmtree(path)
    train(GOAL, folder, 60, *often, "--resume")
    found = find_newest(folder / "checkpoints")
    assert found is not None
    assert found[1].steps == 60
    assert found[1].updates > 0


def test_her_replays_what_was_stored_before(tmp_path: Path) -> None:
    """A restored buffer holds the same complete episodes, and none that is in progress."""
    task = custom_task(GOAL)
    agent = goal_agent(_HER, task)
    agent.learn(50)  # two episodes of 10 steps in each environment, and half of the third
    other = resumed(tmp_path, agent, _HER, task, total=120)
    was, now = agent.replay_buffer, other.replay_buffer
    assert was is not None and now is not None
    for group, array in was.observations.items():  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_array_equal(now.observations[group], array)  # pyright: ignore[reportAttributeAccessIssue]
    lengths = now.ep_length[:30, 0]  # pyright: ignore[reportAttributeAccessIssue]
    assert lengths.tolist() == [10] * 20 + [0] * 10
    assert now._current_ep_start.tolist() == [25, 25]  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("achieved_goal", "observation"):
        mine, its = (a.get_vec_normalize_env() for a in (agent, other))
        assert mine is not None and its is not None
        np.testing.assert_array_equal(its.obs_rms[name].mean, mine.obs_rms[name].mean)  # pyright: ignore[reportIndexIssue]


def goal_agent(config: SACTeacherConfig, task: Task) -> SAC:
    env = normalise(make_teacher_env(task, config, config.num_envs, 0), config)
    agent = make_agent(config, env, torch.device("cpu"), 0)
    assert isinstance(agent, SAC)
    return agent


def resumed(folder: Path, agent: SAC, config: SACTeacherConfig, task: Task, total: int) -> SAC:
    """A new agent with the state of another, as `--resume` makes it."""
    progress = Progress(agent.num_timesteps, agent._n_updates, 3, {})
    save_checkpoint(folder, agent, progress)
    found = find_newest(folder)
    assert found is not None
    other = goal_agent(config, task)
    restore(found[0], other, progress)
    put_off_training(other, task, total)
    return other


def go_on(agent: SAC, steps: int) -> None:
    agent.learn(steps, reset_num_timesteps=False)


@pytest.mark.parametrize("stops", [(18,), (18, 16), (20, 30)])
def test_a_resumed_agent_waits_for_a_complete_episode(
    stops: tuple[int, ...], tmp_path: Path
) -> None:
    """Also one that is stopped again before, or when the last one is about to be overwritten."""
    config = replace(_HER, buffer_size=2 * 20)  # two episodes of 10 steps
    task = custom_task(GOAL)
    agent = goal_agent(config, task)
    for index, steps in enumerate(stops):
        go_on(agent, steps)
        agent = resumed(tmp_path / str(index), agent, config, task, 500)
    before = agent._n_updates
    go_on(agent, 60)
    assert agent._n_updates > before
    assert agent.num_timesteps == sum(stops) + 60


def test_a_resumed_agent_does_not_wait_for_what_it_has(tmp_path: Path) -> None:
    task = custom_task(GOAL)
    agent = goal_agent(_HER, task)
    go_on(agent, 26)
    other = resumed(tmp_path, agent, _HER, task, 500)
    assert other.learning_starts == 20
    go_on(other, 2)
    assert other._n_updates > agent._n_updates


def test_a_resumed_agent_that_could_not_learn_needs_more_steps(tmp_path: Path) -> None:
    task = custom_task(GOAL)
    agent = goal_agent(_HER, task)
    go_on(agent, 12)
    with pytest.raises(UserError, match=r"`total_timesteps` 30: .* before env step 32"):
        resumed(tmp_path, agent, _HER, task, 30)


def test_episodes_that_end_late_or_never_name_the_flags(tmp_path: Path) -> None:
    """Without a time limit, nothing is known before."""
    make: Any = PointGoal
    gym.register("Wandering-v0", make)
    task = custom_task("Wandering-v0")
    try:
        check_goals(task, _HER)
        with pytest.raises(UserError, match=r"within 11 steps of each of 2 .*raise `learning_sta"):
            go_on(goal_agent(_HER, task), 60)
        config = replace(_HER, buffer_size=30, learning_starts=40)
        with pytest.raises(UserError, match=r"room for 15 steps of each .*: raise `buffer_size`"):
            go_on(goal_agent(config, task), 60)
        # Resumed, it waits as long as it was told to at the beginning.
        agent = goal_agent(_HER, task)
        go_on(agent, 16)
        assert resumed(tmp_path, agent, _HER, task, 500).learning_starts == 36
    finally:
        del gym.registry["Wandering-v0"]


def test_discrete_actions_take_ppo_by_themselves(tmp_path: Path) -> None:
    folder = train(DOOR, tmp_path / "run", 120, *_ON_POLICY)
    d = Teacher.load(folder / "teacher").description
    assert (d.algo, d.family) == ("ppo", "categorical")
    # The first choice closes the door, so doing nothing never succeeds.
    assert d.successes["nothing"] == {"validation": [0.0] * 3, "evaluation": [0.0] * 3}
    assert not (folder / "videos").exists()


def test_the_teacher_teaches_and_its_success_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = train(DOOR, tmp_path / "run", 60, *_ON_POLICY) / "teacher"
    assert "python -m Evaluation.blind RUN" in capsys.readouterr().out
    run = tmp_path / "student"
    distil_custom(
        [
            *("--env_id", DOOR, "--teacher", str(teacher), "--PPD", "--mode", "State"),
            *SHORT,
            *("--output", str(run), "--device", "cpu"),
        ]
    )
    figures = json.loads((run / "evaluation.json").read_text())
    expected = Teacher.load(teacher).description.successes["teacher"]["evaluation"]
    assert figures["teacher_success"] == np.mean(expected)
    assert "success" in figures
    keys = set().union(*read_metrics(run))
    assert {"eval/od_success", "eval/teacher_success", "rollout/success_rate"} <= keys


def test_the_script_lists_its_flags_and_finds_modules_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from tests.support.environments import own_envs\nimport gymnasium as gym\n"
        "gym.register('Mine-v0', own_envs.Door, max_episode_steps=5)\n"
    )
    script = str(ROOT / "Train_Teacher" / "Custom.py")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, script, "--env_id", "mine:Mine-v0", "--help"]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stderr
    assert "--env_id ID" in ended.stdout and "--clip_range" in ended.stdout  # PPO's


def test_settings_of_own_tasks() -> None:
    run = default_run(custom_task("Pendulum-v1"), "tqc")
    assert isinstance(run.settings, TQCTeacherConfig)
    assert (run.settings.hindsight_goals, run.settings.n_quantiles) == (0, 25)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("Give --env_id",)),
        (["--env_id"], ("--env_id",)),
        (["--env_id", "Pendulm-v1"], ("Pendulm-v1", "Did you mean")),
        (["--env_id", DOOR, "--algo", "sac"], ("--algo sac", "Discrete(2)", "--algo ppo")),
        (["--env_id", "Pendulum-v1", "--hindsight_goals", "4"], ("--hindsight_goals", "compute_r")),
        (["--env_id", GOAL, "--learning_starts", "70"], ("--learning_starts 70", "8 env", "80")),
        (
            ["--env_id", GOAL, "--buffer_size", "300", "--num_envs", "16"],
            ("--buffer_size 300", "16 environments * 2 * 10 steps = 320"),
        ),
        (["--env_id", GOAL, "--hindsight_goals", "-1"], ("--hindsight_goals -1",)),
        (
            ["--env_id", GOAL, "--algo", "tqc", "--top_quantiles_to_drop", "25"],
            ("--top_quantiles_to_drop 25", "--n_quantiles 25"),
        ),
        (["--env_id", "Pendulum-v1", "--camera", "arm"], ("--camera", "not a MuJoCo")),
    ],
)
def test_bad_input(
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "run"
    full = [*arguments, *(["--output", str(output)] if arguments[1:] else [])]
    text = refusal(capsys, lambda: main_custom(full))
    assert all(word in text for word in words), text
    assert not output.exists()
