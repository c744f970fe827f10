"""Environments that are saved and restored go on to the bit, as if nothing had happened."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from Common.errors import NoStateError, UserError
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.snapshots import restore_snapshot, take_snapshot
from Enviroment.simulation.state import EnvState, savable
from Enviroment.tasks import TASKS
from tests.enviroment.test_enviroment_vector import CLOCK, random_actions

PUSHER, REACHER = (replace(TASKS[name], frame_size=(16, 16)) for name in ("Pusher", "Reacher"))


def stored(state: EnvState) -> EnvState:
    """As it comes back from files: arrays by their bytes, values by JSON."""
    arrays = {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
        for name, array in state.arrays.items()
    }
    return EnvState(arrays, json.loads(json.dumps(state.values, allow_nan=False)))


def record(env: Any, actions: np.ndarray) -> list[Any]:
    """All that the steps return, without the time that an episode took."""
    steps = []
    for action in actions:
        obs, rewards, dones, infos = env.step(action)
        for info in infos:
            if "episode" in info:
                info["episode"] = {key: info["episode"][key] for key in ("r", "l")}
        steps.append((obs, rewards.copy(), dones, infos))
    return steps


def assert_identical(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_identical(actual[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_identical(one, other)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        assert actual.tobytes() == expected.tobytes()
    else:
        assert actual == expected


@pytest.mark.parametrize("task", [PUSHER, REACHER], ids=["Pusher", "Reacher"])
@pytest.mark.parametrize(
    ("kind", "other"), [("serial", "thread"), ("thread", "process"), ("process", "serial")]
)
def test_a_fresh_environment_goes_on_to_the_bit(task, kind, other):
    """Over 250 steps: 2 to 5 ends of each staggered episode. Another kind of workers takes over."""
    n_before, n_after = 37, 250
    env = make_env(task, 3, 500, workers=kind, n_workers=2, stagger=True)
    actions = random_actions(env, n_before + n_after)
    env.reset()
    before = record(env, actions[:n_before])
    state = stored(env.save_state())
    expected = record(env, actions[n_before:])
    env.close()

    # Other seeds and some steps: nothing of its own past may be left.
    fresh = make_env(task, 3, 9000, workers=other, n_workers=3, stagger=True)
    fresh.reset()
    record(fresh, actions[:5])
    assert_identical(fresh.restore_state(state), before[-1][0])
    actual = record(fresh, actions[n_before:])
    assert sum(int(dones.sum()) for _, _, dones, _ in expected) >= 6
    assert_identical(actual, expected)
    fresh.close()


def test_saving_changes_nothing_and_is_repeatable():
    plain, saved = (make_env(PUSHER, 2, 3, workers="serial", stagger=True) for _ in range(2))
    actions = random_actions(plain, 120)
    plain.reset()
    saved.reset()
    for action in actions:
        first, second = saved.save_state(), saved.save_state()
        assert_identical(second.arrays, first.arrays)
        assert_identical(record(saved, action[None]), record(plain, action[None]))
    plain.close()
    saved.close()


def test_it_goes_on_from_wherever_it_was_saved():
    """Also right after a reset and right after an episode's end, and never reset before."""
    env = make_state_env(REACHER, 2, 77)
    actions = random_actions(env, 130)
    obs = env.reset()
    for step in (0, 1, 49, 50, 51, 100):
        env.seed(77)
        obs = env.reset()
        for action in actions[:step]:
            obs, *_ = env.step(action)
        state = env.save_state()
        expected = record(env, actions[step:])
        fresh = make_state_env(REACHER, 2, 0)
        assert_identical(fresh.restore_state(state), obs)
        assert_identical(record(fresh, actions[step:]), expected)
        assert fresh.reset().tobytes() == env.reset().tobytes()  # with the next seeds
        fresh.close()
    env.close()


def test_a_saved_state_is_left_alone_by_later_steps():
    env = make_env(REACHER, 2, 0, workers="serial")
    actions = random_actions(env, 60)
    env.reset()
    state = env.save_state()
    copy = stored(state)
    record(env, actions)
    assert_identical(state.arrays, copy.arrays)
    assert_identical(state.values, copy.values)
    env.close()


def test_blind_and_colour_frames_are_restored():
    for task, blind in ((replace(REACHER, grayscale=False), False), (REACHER, True)):
        env, fresh = (make_env(task, 2, 4, workers="serial", blind=blind) for _ in range(2))
        actions = random_actions(env, 70)
        env.reset()
        record(env, actions[:9])
        fresh.restore_state(env.save_state())
        assert_identical(record(fresh, actions[9:]), record(env, actions[9:]))
        env.close()
        fresh.close()


@pytest.mark.parametrize("env_id", ["Ant-v5", "Humanoid-v5", "Hopper-v5", "HalfCheetah-v5"])
def test_rewards_that_look_back_are_restored(env_id, tmp_path, monkeypatch):
    """Ant and Humanoid measure speed from positions computed in the step before."""
    monkeypatch.chdir(tmp_path)  # MuJoCo logs what it dislikes in some models where it runs
    env, fresh = (gym.make(env_id, disable_env_checker=True) for _ in range(2))
    env.reset(seed=1)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(15)]
    for action in actions[:5]:
        env.step(action)
    restore_snapshot(fresh, take_snapshot(env, 1))
    for action in actions[5:]:
        for one, other in zip(fresh.step(action), env.step(action), strict=True):
            assert_identical(one, other)
    env.close()
    fresh.close()


def test_the_restored_simulation_is_not_recomputed():
    """Positions of bodies lag behind the joints by a substep; they are as they were."""
    env, fresh = (gym.make("Pusher-v5", disable_env_checker=True) for _ in range(2))
    env.reset(seed=1)
    env.step(np.ones(7))
    restore_snapshot(fresh, take_snapshot(env, 1))
    ours: Any = fresh.unwrapped
    theirs: Any = env.unwrapped
    for field in ("qpos", "qvel", "qacc_warmstart", "ctrl", "xpos", "geom_xmat", "qfrc_actuator"):
        assert_identical(getattr(ours.data, field), getattr(theirs.data, field))
    lagging = theirs.data.xpos.copy()
    mujoco.mj_kinematics(theirs.model, theirs.data)
    assert not np.array_equal(lagging, theirs.data.xpos)  # recomputed, they would differ
    env.close()
    fresh.close()


def test_the_generator_of_the_environment_is_restored():
    env, fresh = (gym.make("Reacher-v5", disable_env_checker=True) for _ in range(2))
    env.reset(seed=1)
    env.unwrapped.np_random.random(3)
    restore_snapshot(fresh, take_snapshot(env, 1))
    assert fresh.unwrapped.np_random.random() == env.unwrapped.np_random.random()
    env.close()
    fresh.close()


def test_divergences_are_counted_on():
    env, fresh = (make_state_env("Pusher", 2, 0) for _ in range(2))
    env.reset()
    env.divergences[:] = [3, 0]
    fresh.restore_state(env.save_state())
    assert fresh.divergences.tolist() == [3, 0]
    env.close()
    fresh.close()


def test_it_is_reached_through_sb3s_wrappers():
    env = make_state_env("Reacher", 2, 0)
    wrapped = VecNormalize(env)
    wrapped.reset()
    assert savable(wrapped) is env
    state = wrapped.save_state()
    env.close()
    fresh = make_state_env("Reacher", 2, 50)
    savable(VecNormalize(fresh)).restore_state(state)
    assert_identical(fresh.save_state().arrays, state.arrays)
    fresh.close()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: make_env(PUSHER, 2, 0, workers="serial", stagger=True), '"Pusher"'),
        (lambda: make_env(REACHER, 3, 0, workers="serial", stagger=True), "n_envs was 2 and is 3"),
        (
            lambda: make_env(REACHER, 2, 0, workers="serial", stagger=True, quality="reference"),
            'quality was "fast" and is "reference"',
        ),
        (
            lambda: make_env(REACHER, 2, 0, workers="serial", stagger=True, blind=True),
            'quality was "fast" and is null',
        ),
        (
            lambda: make_env(
                replace(REACHER, frame_size=(16, 24)), 2, 0, workers="serial", stagger=True
            ),
            r"task.frame_size was \[16, 16\] and is \[16, 24\]",
        ),
        (
            lambda: make_env(REACHER, 2, 0, workers="serial"),
            "stagger was true and is false",
        ),
        (lambda: make_state_env(REACHER, 2, 0), 'environments was "FrameVecEnv"'),
    ],
)
def test_a_state_of_other_environments_is_refused(made, message):
    env = make_env(REACHER, 2, 0, workers="serial", stagger=True)
    env.reset()
    state = env.save_state()
    env.close()
    other = made()
    with pytest.raises(UserError, match=f"is of other environments: .*{message}"):
        other.restore_state(state)
    other.close()


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("arrays", "held", None, "'held' is missing"),
        ("arrays", "held", np.zeros((1, 3)), r"'held' is float64 \(1, 3\)"),
        ("arrays", "states", np.zeros((2, 10)), "'states' is float64"),
        ("values", "trees", ["{}"], "saved environments are damaged"),
        ("values", "trees", None, "saved environments are damaged: .*'trees'"),
        ("values", "sizes", ["1"], r"damaged: sizes\[0\] is"),
        ("values", "sizes", [1], "'held' is not as long as its parts"),
        ("values", "episode_seeds", [1, "2"], r"damaged: episode_seeds\[1\] is"),
        ("values", "seconds", "late", "'seconds' is not a number"),
        ("values", "made_with", None, "their settings are missing"),
    ],
)
def test_a_damaged_state_is_refused(part, name, value, message):
    env = make_state_env("Reacher", 2, 0)
    env.reset()
    state = env.save_state()
    content = getattr(state, part)
    if value is None:
        del content[name]
    else:
        content[name] = value
    with pytest.raises(UserError, match=message):
        env.restore_state(state)
    env.close()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_environments_of_others_say_that_they_cannot_be_saved(kind):
    env = make_env(CLOCK, 2, 0, blind=True, workers=kind) if kind != "process" else None
    if env is None:  # a worker process does not know the test's own environment
        pendulum = replace(CLOCK, env_id="Pendulum-v1")
        env = make_env(pendulum, 2, 0, blind=True, workers=kind)
    env.reset()
    with pytest.raises(NoStateError, match="cannot be saved: it is not a MuJoCo environment"):
        env.save_state()
    env.close()


def test_what_cannot_be_saved_says_why():
    dummy = DummyVecEnv([lambda: gym.make("Reacher-v5")])
    with pytest.raises(NoStateError, match="DummyVecEnv cannot be saved: only environments of"):
        savable(dummy)
    dummy.close()
    unused = make_state_env("Reacher", 1, 0)
    with pytest.raises(RuntimeError, match="Reset the environments before"):
        unused.save_state()
    unused.close()
