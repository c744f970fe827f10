"""The vectorised environments against plain Gymnasium rollouts with the same seeds and actions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor

from Common.errors import UserError
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FrameStack
from Enviroment.tasks import TASKS, Task

SMALL_REACHER = replace(TASKS["Reacher"], frame_size=(16, 24))  # 50 env steps an episode


class Clock(gym.Env):
    """Shows its seed and the step; with seed s it terminates after 3 + s % 4 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self._seed, self._step = 0, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        assert seed is not None
        self._seed, self._step = seed, 0
        return np.array([self._seed, 0.0]), {}

    def step(self, action):
        self._step += 1
        terminated = self._step == 3 + self._seed % 4
        return np.array([self._seed, self._step]), 1.0, terminated, False, {}

    def fail(self) -> None:
        raise ZeroDivisionError("on purpose")


CLOCK_LIMIT = 5  # env steps: seeds 2 and 3 (mod 4) reach it; 2 terminates there as well
gym.register("TestClock-v0", lambda **_: Clock(), max_episode_steps=CLOCK_LIMIT)
CLOCK = Task("Clock", "TestClock-v0", TASKS["Pusher"].camera, proprio=((1, 2),), distance=None)


def random_actions(env: Any, n_steps: int) -> np.ndarray:
    """Float32 (n_steps, n_envs, action_dim), within the bounds."""
    space, generator = env.action_space, np.random.default_rng(0)
    shape = (n_steps, env.num_envs, *space.shape)
    return generator.uniform(space.low, space.high, shape).astype(np.float32)


class Reference:
    """Environment `index` of `n_envs`, in plain Gymnasium, with every frame it ever showed."""

    def __init__(self, task: Task, index: int, n_envs: int, seed: int, draws: bool = True):
        self.env = Monitor(gym.make(task.env_id, disable_env_checker=True))
        self.task, self.next_seed, self.n_envs = task, seed + index, n_envs
        self.renderer: Any = None
        if draws:
            assert task.camera is not None
            self.renderer = Renderer(task.camera, *task.frame_size, "fast", task.grayscale)
            self.view = EnvView(self.env, self.renderer)

    def reset(self) -> np.ndarray:
        self.frames = []
        state, _ = self.env.reset(seed=self.next_seed)
        self.next_seed += self.n_envs
        self.draw()
        return state

    def step(self, action):
        result = self.env.step(action)
        self.draw()
        return result

    def draw(self) -> None:
        if self.renderer is not None:
            picture = self.view.render()
            picture = picture[None] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
            self.frames.append(picture)

    def observation(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Every second frame of this episode, the newest last, and the first one before it."""
        now = len(self.frames) - 1
        frames = [self.frames[max(now - age, 0)] for age in (6, 4, 2, 0)]
        state = state.astype(np.float32)
        proprio = state[self.task.proprio_indices]
        return {"frame": np.concatenate(frames), "proprio": proprio, "state": state}

    def close(self) -> None:
        self.env.close()
        if self.renderer is not None:
            self.renderer.close()


def assert_same(actual: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert set(actual) == set(expected)
        for group in expected:
            assert actual[group].dtype == expected[group].dtype
            np.testing.assert_array_equal(actual[group], expected[group], err_msg=group)
    else:
        np.testing.assert_array_equal(actual, expected)


def row(observation: Any, index: int):
    if isinstance(observation, dict):
        return {group: values[index] for group, values in observation.items()}
    return observation[index]


@pytest.mark.parametrize(
    ("task", "n_steps"),
    [
        (replace(TASKS["Pusher"], frame_size=(16, 32)), 110),
        (SMALL_REACHER, 110),
        (replace(SMALL_REACHER, grayscale=False), 60),
    ],
    ids=["Pusher", "Reacher", "colour"],
)
def test_rollout_equals_gymnasium(task, n_steps):
    n_envs, seed = 3, 500
    env = make_env(task, n_envs, seed, n_workers=2)
    references = [Reference(task, index, n_envs, seed) for index in range(n_envs)]
    observation = env.reset()
    assert env.observation_space.contains(row(observation, 0))
    for index, reference in enumerate(references):
        assert_same(row(observation, index), reference.observation(reference.reset()))

    n_ended = 0
    for actions in random_actions(env, n_steps):
        observation, rewards, dones, infos = env.step(actions)
        assert rewards.dtype == np.float32
        for index, reference in enumerate(references):
            state, reward, terminated, truncated, info = reference.step(actions[index])
            expected = reference.observation(state)
            assert rewards[index] == np.float32(reward)
            assert dones[index] == (terminated or truncated)
            if dones[index]:
                n_ended += 1
                assert_same(infos[index]["terminal_observation"], expected)
                assert infos[index]["TimeLimit.truncated"]
                assert infos[index]["episode"]["r"] == info["episode"]["r"]
                assert infos[index]["episode"]["l"] == info["episode"]["l"]
                expected = reference.observation(reference.reset())
            else:
                assert infos[index] == {}
            assert_same(row(observation, index), expected)
    assert n_ended >= n_envs
    env.close()
    for reference in references:
        reference.close()


def test_state_env_equals_gymnasium():
    n_envs, seed = 2, 40
    task = TASKS["Reacher"]
    env = make_state_env(task, n_envs, seed)
    references = [Reference(task, index, n_envs, seed, draws=False) for index in range(n_envs)]
    assert env.observation_space == spaces.Box(-np.inf, np.inf, (10,), np.float32)
    expected = [reference.reset() for reference in references]
    assert_same(env.reset(), np.array(expected, np.float32))
    for actions in random_actions(env, 60):
        states, rewards, dones, infos = env.step(actions)
        assert states.dtype == np.float32
        for index, reference in enumerate(references):
            state, reward, _, truncated, info = reference.step(actions[index])
            assert rewards[index] == np.float32(reward)
            assert dones[index] == truncated
            if truncated:
                assert_same(infos[index]["terminal_observation"], state.astype(np.float32))
                assert infos[index]["episode"]["r"] == info["episode"]["r"]
                state = reference.reset()
            assert_same(states[index], state.astype(np.float32))
    env.close()


def test_termination_is_told_from_truncation():
    # Seeds 0 to 3: terminated at 3, at 4, at 5 just as the limit comes, and cut off at 5.
    env = make_state_env(CLOCK, 4, seed=0)
    env.reset()
    ends = {}
    for step in range(1, CLOCK_LIMIT + 1):
        _, _, dones, infos = env.step(np.zeros((4, 1)))
        for index in np.flatnonzero(dones):
            ends.setdefault(index, (step, infos[index]["TimeLimit.truncated"]))
    env.close()
    assert ends == {0: (3, False), 1: (4, False), 2: (5, False), 3: (5, True)}


@pytest.mark.parametrize("make", [make_state_env, lambda *a: make_env(*a, blind=True)])
def test_every_episode_of_every_environment_is_seeded(make):
    n_envs, seed = 3, 100
    env = make(CLOCK, n_envs, seed)

    def seeds(observation) -> list[int]:
        states = observation["state"] if isinstance(observation, dict) else observation
        return states[:, 0].astype(int).tolist()

    episodes = [[s] for s in seeds(env.reset())]
    for _ in range(20):
        observation, _, dones, _ = env.step(np.zeros((n_envs, 1)))
        for index in np.flatnonzero(dones):
            episodes[index].append(seeds(observation)[index])
    # They last 3 to 5 steps by seed, so they come apart, and the seeds must not.
    counts = [len(episode) for episode in episodes]
    assert len(set(counts)) > 1
    for index, count in enumerate(counts):
        assert episodes[index] == [seed + k * n_envs + index for k in range(count)]

    going_on = [seed + count * n_envs + index for index, count in enumerate(counts)]
    assert seeds(env.reset()) == going_on
    env.seed(7)
    assert seeds(env.reset()) == [7, 8, 9]
    assert seeds(env.reset()) == [10, 11, 12]
    env.close()


def test_returns_and_lengths_start_anew_with_a_reset():
    env = make_state_env(CLOCK, 1, seed=0)
    env.reset()
    env.step(np.zeros((1, 1)))
    env.seed(0)
    env.reset()
    for _ in range(3):
        _, _, dones, infos = env.step(np.zeros((1, 1)))
    assert dones[0]
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (3.0, 3)
    env.close()


def test_all_kinds_of_workers_yield_the_same():
    kinds = ("serial", "thread", "process")
    envs = [make_env(SMALL_REACHER, 3, 9, workers=kind, n_workers=2) for kind in kinds]
    first, *others = [env.reset() for env in envs]
    for other in others:
        assert_same(other, first)
    n_ended = 0
    for actions in random_actions(envs[0], 55):
        (observation, rewards, dones, infos), *others = [env.step(actions) for env in envs]
        n_ended += dones.sum()
        for other in others:
            assert_same(other[0], observation)
            assert_same(other[1], rewards)
            assert_same(other[2], dones)
            for theirs, info in zip(other[3], infos, strict=True):
                assert theirs.keys() == info.keys()
                if info:
                    assert_same(theirs["terminal_observation"], info["terminal_observation"])
                    assert theirs["TimeLimit.truncated"] == info["TimeLimit.truncated"]
                    assert theirs["episode"]["r"] == info["episode"]["r"]
    assert n_ended == 3
    for env in envs:
        env.close()


def test_blind_frames_are_zero_and_nothing_is_drawn(monkeypatch):
    seeing = make_env(SMALL_REACHER, 2, 3)
    monkeypatch.setattr("Enviroment.simulation.part.Renderer", None)  # making one would raise
    blind = make_env(SMALL_REACHER, 2, 3, blind=True)
    seen, unseen = seeing.reset(), blind.reset()
    for actions in random_actions(blind, 51):
        assert unseen["frame"].shape == seen["frame"].shape
        assert unseen["frame"].dtype == np.uint8
        assert not unseen["frame"].any()
        assert seen["frame"].any()
        assert_same(unseen["state"], seen["state"])
        assert_same(unseen["proprio"], seen["proprio"])
        seen, _, _, _ = seeing.step(actions)
        unseen, _, dones, infos = blind.step(actions)
        for index in np.flatnonzero(dones):
            assert not infos[index]["terminal_observation"]["frame"].any()
    seeing.close()
    blind.close()


def test_observations_are_not_changed_by_later_steps():
    env = make_env(SMALL_REACHER, 2, 0)
    kept = []
    observation = env.reset()
    for actions in random_actions(env, 55):
        kept.append((observation, {group: values.copy() for group, values in observation.items()}))
        observation, *_ = env.step(actions)
    for observation, copy in kept:
        assert_same(observation, copy)
    env.close()


def test_frame_stack_takes_every_nth_frame_of_its_episode():
    task = replace(TASKS["Pusher"], frame_size=(16, 16), stack=3, frame_interval=2)
    stack = FrameStack(task, 2)

    def frame(value: int) -> np.ndarray:
        return np.full((1, 16, 16), value, np.uint8)

    def values(index: int) -> list[int]:
        np.testing.assert_array_equal(stack.stacks()[index], stack.stack(index))
        return stack.stack(index)[:, 0, 0].tolist()

    stack.restart(0, frame(10))
    stack.restart(1, frame(100))
    assert (values(0), values(1)) == ([10, 10, 10], [100, 100, 100])
    for t in range(1, 6):
        stack.push(np.stack([frame(10 + t), frame(100 + t)]))
    # Steps 5, 3 and 1, the newest last.
    assert (values(0), values(1)) == ([11, 13, 15], [101, 103, 105])
    stack.restart(1, frame(200))
    assert (values(0), values(1)) == ([11, 13, 15], [200, 200, 200])
    stack.push(np.stack([frame(16), frame(201)]))
    assert (values(0), values(1)) == ([12, 14, 16], [200, 200, 201])
    stack.push(np.stack([frame(17), frame(202)]))
    stack.push(np.stack([frame(18), frame(203)]))
    assert (values(0), values(1)) == ([14, 16, 18], [200, 201, 203])


def test_sb3_finds_its_monitor_and_reaches_the_environments():
    env = make_env(CLOCK, 3, 0, blind=True, n_workers=2)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.Wrapper, indices=[0]) == [False]
    assert env.get_attr("render_mode") == [None] * 3
    env.set_attr("mark", 5, indices=[1, 2])
    assert env.get_attr("mark", indices=[1, 2]) == [5, 5]
    with pytest.raises(AttributeError):
        env.get_attr("mark", indices=0)
    assert env.env_method("has_wrapper_attr", "mark") == [False, True, True]
    env.close()
    env.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "Pushr"}, "Did you mean Pusher"),
        ({"n_envs": 0}, "`n_envs` 0.*at least one"),
        ({"n_envs": -2}, "`n_envs` -2.*at least one"),
        ({"seed": -1}, "Seed -1"),
        ({"quality": "ultra"}, "'ultra'.*fast or reference"),
        ({"quality": "ultra", "blind": True}, "'ultra'.*fast or reference"),
        ({"workers": "fiber"}, "'fiber' workers.*serial, thread, process"),
        ({"n_workers": 0}, "`n_workers` 0.*1 to 2"),
        ({"n_workers": 3}, "`n_workers` 3.*1 to 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        make_env(**{"task": "Pusher", "n_envs": 2, "seed": 0, **arguments})


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1025, 64), (64, 1025)])
def test_frame_size_out_of_range(size):
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]}.*16 and 1024"):
        replace(TASKS["Pusher"], frame_size=size)


def test_bad_actions():
    env = make_state_env("Reacher", 2, 0)
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(2, 2\)"):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match=r"environments \[1\] are not finite"):
        env.step(np.array([[0, 0], [0, np.nan]]))
    env.close()


def test_staggered_episodes_end_one_after_the_other():
    env = make_env("Pusher", 4, seed=0, blind=True, stagger=True)
    actions = np.zeros((4, 7), np.float32)
    for reset in range(2):
        env.reset()
        ends = [[], [], [], []]
        for step in range(1, 251):
            _, _, dones, infos = env.step(actions)
            for i in np.flatnonzero(dones):
                ends[i].append(step)
                assert infos[i]["TimeLimit.truncated"]
        # A limit of 100 steps: quarters of it, then whole episodes.
        assert ends == [[25, 125, 225], [50, 150, 250], [75, 175], [100, 200]], reset
    env.close()


def test_staggering_changes_nothing_but_the_first_ends():
    plain, staggered = (make_env("Pusher", 2, seed=3, blind=True, stagger=s) for s in (False, True))
    np.testing.assert_array_equal(plain.reset()["state"], staggered.reset()["state"])
    actions = np.full((2, 7), 0.3, np.float32)
    for _ in range(49):
        expected, obs = plain.step(actions)[0], staggered.step(actions)[0]
        np.testing.assert_array_equal(expected["state"], obs["state"])
    plain.close()
    staggered.close()
