"""MuJoCo resets a simulation that diverges, silently: it is noticed, dropped and counted."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.pusher_v5 import PusherEnv
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.divergence import DivergenceWatch
from Enviroment.tasks import TASKS

PUSHER = replace(TASKS["Pusher"], frame_size=(16, 16))
NQ = NV = 11  # of Pusher


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into MUJOCO_LOG.TXT, wherever it runs."""
    monkeypatch.chdir(tmp_path)


def actions(env, seed):
    shape = (env.num_envs, *env.action_space.shape)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def explode(env, index, speed=1e12):
    """Give the joints of one live simulation a velocity that no step survives."""
    env.env_method("set_state", np.zeros(NQ), np.full(NV, speed), indices=index)


@pytest.mark.parametrize(
    ("field", "value"), [("qpos", np.nan), ("qvel", 1e12), ("qvel", 1e9), ("ctrl", np.nan)]
)
def test_each_of_mujocos_resets_is_noticed(field, value):
    env: Any = gym.make("Pusher-v5", disable_env_checker=True)
    watch = DivergenceWatch(env)
    for seed in range(2):
        env.reset(seed=seed)
        watch.begin()
        state, *_ = env.step(np.zeros(7))
        assert not watch.diverged(state)
        action = np.zeros(7)
        if field == "ctrl":
            action[0] = value
        else:
            getattr(env.unwrapped.data, field)[:] = value
        state, *_ = env.step(action)
        assert np.isfinite(state).all()  # as if nothing had happened
        assert watch.diverged(state)
    env.close()


def test_states_that_are_not_finite_are_noticed():
    env = gym.make("Pusher-v5", disable_env_checker=True)
    watch = DivergenceWatch(env)
    state, _ = env.reset(seed=0)
    assert not watch.diverged(state)
    for bad in (np.nan, np.inf):
        assert watch.diverged(np.append(state[1:], bad))
    env.close()


class Respawn(PusherEnv):
    """Puts itself back where it began in each third step, without an end of the episode."""

    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps % 3 == 0:
            mujoco.mj_resetData(self.model, self.data)
        return super().step(action)

    def reset(self, *, seed=None, options=None):
        """Leaves the clock and MuJoCo's counters as they are."""
        gym.Env.reset(self, seed=seed)
        return self.reset_model(), {}


gym.register("TestRespawn-v0", Respawn, max_episode_steps=10)
RESPAWN = replace(TASKS["Pusher"], env_id="TestRespawn-v0")


def test_an_environment_that_resets_its_own_simulation_has_not_diverged():
    """Its time runs backwards. When it does diverge, that is one divergence, and not each step."""
    env = make_state_env(RESPAWN, 1, 0)
    env.reset()
    dones = [env.step(actions(env, step))[2][0] for step in range(21)]
    assert env.divergences.tolist() == [0]
    assert np.flatnonzero(dones).tolist() == [9, 19]
    explode(env, 0)
    for step in range(8):
        env.step(actions(env, step))
    assert env.divergences.tolist() == [1]
    env.close()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_the_episode_is_dropped_and_counted_and_the_others_go_on(kind):
    env = make_env(PUSHER, 2, 10, workers=kind, n_workers=2 if kind != "serial" else None)
    untouched = make_env(PUSHER, 2, 10, workers="serial")
    env.reset()
    untouched.reset()
    rewards = []
    for step in range(3):
        last, reward, *_ = env.step(actions(env, step))
        untouched.step(actions(env, step))
        rewards.append(reward[1])
    explode(env, 1)
    obs, reward, dones, infos = env.step(actions(env, 3))
    expected = untouched.step(actions(env, 3))

    assert dones.tolist() == [False, True]
    assert infos[0] == {}
    assert infos[1]["diverged"] is True
    assert infos[1]["TimeLimit.truncated"] is True
    assert "episode" not in infos[1]
    terminal = infos[1]["terminal_observation"]
    np.testing.assert_array_equal(terminal["state"], last["state"][1])  # from before the reset
    np.testing.assert_array_equal(terminal["frame"][-1], last["frame"][1, -1])
    assert reward[1] == pytest.approx(np.mean(rewards), rel=1e-6)
    assert env.divergences.tolist() == [0, 1]

    # The next episode is that of seed 10 + 1 * 2 + 1, from its start.
    fresh = make_env(PUSHER, 1, 13, workers="serial")
    start = fresh.reset()
    for group in start:
        np.testing.assert_array_equal(obs[group][1], start[group][0])
        np.testing.assert_array_equal(obs[group][0], expected[0][group][0])
    after, reward, dones, infos = env.step(actions(env, 4))
    alone, alone_reward, *_ = fresh.step(actions(env, 4)[1:])
    assert (dones.tolist(), infos) == ([False, False], [{}, {}])
    assert reward[1] == alone_reward[0]
    for group in start:
        np.testing.assert_array_equal(after[group][1], alone[group][0])
    for each in (env, untouched, fresh):
        each.close()


def test_a_divergence_in_the_first_step_has_a_finite_reward():
    env = make_state_env("Pusher", 1, 5)
    start = env.reset()
    explode(env, 0)
    _, reward, dones, infos = env.step(actions(env, 0))
    assert (reward[0], dones[0]) == (0.0, True)
    np.testing.assert_array_equal(infos[0]["terminal_observation"], start[0])
    env.close()


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_beyond_the_limit_the_run_stops(kind):
    env = make_env(PUSHER, 2, 10, workers=kind, n_workers=2, blind=True, max_divergences=1)
    env.reset()
    env.step(actions(env, 0))
    explode(env, 0)
    env.step(actions(env, 1))
    explode(env, 1)
    env.step(actions(env, 2))  # one of each is still within the limit
    env.step(actions(env, 3))
    explode(env, 1)
    message = (
        r"Environment 1 of task Pusher \(Pusher-v5\).* diverged 2 times, the last time in step 2 "
        r"of the episode with seed 13.* max_divergences"
    )
    with pytest.raises(UserError, match=message):
        env.step(actions(env, 4))
    assert env.divergences.tolist() == [1, 2]
    env.close()


def test_a_wrapped_environment_tells_its_divergences():
    env = make_state_env("Pusher", 2, 0)
    wrapped = VecNormalize(env)
    wrapped.reset()
    explode(env, 0)
    wrapped.step(actions(env, 0))
    assert wrapped.divergences.tolist() == [1, 0]
    wrapped.close()


@pytest.mark.parametrize("make", [make_env, make_state_env])
def test_bad_limit(make):
    with pytest.raises(UserError, match="max_divergences` -1"):
        make("Pusher", 1, 0, max_divergences=-1)
