"""The tasks as environments of Gymnasium, against the project's own and Gymnasium's."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics

import vision_distillation
from Common.errors import UserError
from Common.places import ROOT
from Enviroment.custom import custom_task
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from tests.support.environments import own_envs
from vision_distillation.gym_envs import VisionEnv

REACHER = "vision_distillation/Reacher-v0"  # 50 env steps an episode
SMALL: dict[str, Any] = {"frame_size": (16, 24), "stack": 2, "frame_interval": 1}
SEED = 80_000_000  # of EVALUATION, where the toolkit's own seeds lie


def random_actions(space: Any, n_steps: int, n_envs: int) -> np.ndarray:
    """Float32 (n_steps, n_envs, action_dim), within the bounds."""
    shape = (n_steps, n_envs, *space.shape)
    return np.random.default_rng(0).uniform(space.low, space.high, shape).astype(np.float32)


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert sorted(ours) == sorted(theirs) == ["frame", "proprio", "state"]
    for group, values in ours.items():
        assert values.dtype == theirs[group].dtype
        np.testing.assert_array_equal(values, theirs[group], group)


def test_importing_registers_every_task_in_a_new_process() -> None:
    code = """
import gymnasium as gym
import vision_distillation
print(sorted(name for name in gym.registry if name.startswith("vision_distillation/")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(sorted(f"vision_distillation/{name}-v0" for name in TASKS))
    assert "make_env" in dir(vision_distillation)


@pytest.mark.parametrize("name", ["Pusher", "Reacher", "Hopper", "CustomHopper-source-udr"])
def test_gymnasium_finds_no_fault(name: str) -> None:
    env = gym.make(f"vision_distillation/{name}-v0", render_mode="rgb_array", frame_size=(24, 32))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    env.close()
    # Of states and joints, whose bounds are not known, Gymnasium says that they have none.
    assert [str(w.message) for w in warned if "Box" not in str(w.message)] == []


def test_episodes_are_those_of_our_own_environments() -> None:
    """Frames, joints, states and rewards, over the end of an episode and into the next two."""
    env = gym.make(REACHER, **SMALL)
    task = env.get_wrapper_attr("task")
    assert (task.frame_size, task.stack, task.frame_interval) == ((16, 24), 2, 1)
    ours = make_env(task, 1, 0)
    plain = gym.make("Reacher-v5")
    ours.seed(SEED)
    expected = ours.reset()
    for episode in range(3):
        obs, _ = env.reset(seed=SEED if episode == 0 else None)
        state, _ = plain.reset(seed=SEED + episode)
        assert_same(obs, {group: values[0] for group, values in expected.items()})
        np.testing.assert_array_equal(obs["state"], state.astype(np.float32))
        for step, action in enumerate(random_actions(plain.action_space, 50, 1), start=1):
            obs, reward, terminated, truncated, info = env.step(action[0])
            expected, rewards, dones, infos = ours.step(action)
            state, plain_reward, *_ = plain.step(action[0])
            last = infos[0]["terminal_observation"] if dones[0] else None
            assert_same(obs, last or {group: values[0] for group, values in expected.items()})
            assert reward == rewards[0] == np.float32(plain_reward)
            assert (terminated, truncated, info) == (False, step == 50, {})
    for each in (env, ours, plain):
        each.close()


def test_a_seed_repeats_an_episode_in_its_middle() -> None:
    env = gym.make(REACHER, **SMALL)
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    assert not np.array_equal(first["state"], second["state"])
    env.step(np.zeros(2, np.float32))
    assert_same(env.reset(seed=5)[0], first)
    assert_same(env.reset()[0], second)
    env.close()


def test_many_at_once_are_our_own_environments() -> None:
    envs: Any = gym.make_vec(REACHER, num_envs=3, **SMALL)
    ours = make_env(envs.task, 3, 0)
    ours.seed(SEED)
    assert_same(envs.reset(seed=SEED)[0], ours.reset())
    for step, actions in enumerate(random_actions(ours.action_space, 60, 3), start=1):
        obs, rewards, terminated, truncated, infos = envs.step(actions)
        expected, own_rewards, dones, own_infos = ours.step(actions)
        assert_same(obs, expected)
        np.testing.assert_array_equal(rewards, own_rewards)
        np.testing.assert_array_equal(terminated | truncated, dones)
        assert truncated.tolist() == [step == 50] * 3
        if step == 50:
            for index in range(3):
                assert_same(infos["final_obs"][index], own_infos[index]["terminal_observation"])
    assert obs["frame"] in envs.observation_space["frame"]
    with pytest.raises(UserError, match="give one seed"):
        envs.reset(seed=[1, 2, 3])
    envs.close()
    ours.close()


def test_wrappers_of_gymnasium_count_the_return() -> None:
    env = RecordEpisodeStatistics(gym.make(REACHER, **SMALL))
    env.reset(seed=0)
    rewards = [env.step(np.zeros(2, np.float32)) for _ in range(50)]
    assert rewards[-1][4]["episode"]["r"] == pytest.approx(sum(float(r[1]) for r in rewards))
    env.close()
    envs = RecordVectorStatistics(gym.make_vec(REACHER, num_envs=2, **SMALL))
    envs.reset(seed=0)
    for _ in range(50):
        *_, infos = envs.step(np.zeros((2, 2), np.float32))
    assert infos["episode"]["l"].tolist() == [50, 50]
    envs.close()


def test_pictures_are_the_newest_frame_in_colour() -> None:
    env = gym.make(REACHER, render_mode="rgb_array", rgb=True, **SMALL)
    obs, _ = env.reset(seed=0)
    picture: Any = env.render()
    assert (picture.shape, picture.dtype) == ((16, 24, 3), np.uint8)
    np.testing.assert_array_equal(picture, np.moveaxis(obs["frame"][-3:], 0, -1))
    env.close()
    assert env.metadata["render_fps"] == 50  # of Gymnasium's Reacher


def test_blind_frames_are_zero() -> None:
    env = gym.make(REACHER, blind=True, **SMALL)
    assert not env.reset(seed=0)[0]["frame"].any()
    env.close()


def test_success_is_told_at_the_end() -> None:
    assert own_envs  # registers Door-v0
    env = VisionEnv(custom_task("Door-v0", None, ""), blind=True)
    for last in (0, 1):  # close or open the door
        env.reset()
        told = [env.step(action)[4] for action in [1] * 9 + [last]]
        assert told == [{}] * 9 + [{"is_success": bool(last)}]
    env.close()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TypeError, match="frame_sise"):
        gym.make(REACHER, frame_sise=(8, 8))
    with pytest.raises(UserError, match="render_mode"):
        VisionEnv("Reacher", render_mode="human")
    with pytest.raises(UserError, match="no task 'Reachr'"):
        VisionEnv("Reachr")
    with pytest.raises(UserError, match="camera"):
        gym.make(REACHER, camera="nowhere")
    env = VisionEnv("Reacher", blind=True)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(2, np.float32))
    env.reset(seed=0)
    for _ in range(50):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(gym.error.ResetNeeded, match="ended"):
        env.step(np.zeros(2, np.float32))
    env.close()
