"""What goes wrong between camera and policy, by hand arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces

from Evaluation.evaluate.episodes import run_episodes
from Evaluation.evaluate.perturbations import (
    DroppedFrames,
    FrozenFrames,
    PerturbedEnv,
    add_noise,
    noisy_proprio,
    on_group,
    scale_brightness,
    shift_frames,
    swap_environments,
    unperturbed,
)
from tests.support.environments.fake_env import TASK, FakeVecEnv, length_of, return_of

# One gray frame a step; a stack is the last two, one step apart.
SIZE = (16, 16)
SMALL = dataclasses.replace(TASK, stack=2, frame_interval=1, frame_size=SIZE)
NO_START, START = np.zeros(1, bool), np.ones(1, bool)


def stack(older, newer):
    """(1, 2, 16, 16): one environment, two frames of one brightness each."""
    return {"frame": np.array([[np.full(SIZE, older), np.full(SIZE, newer)]], np.uint8)}


def seen(obs):
    return obs["frame"][0, :, 0, 0].tolist()


def test_brightness_is_a_factor_rounded_and_cut_off_at_white():
    frames = np.array([0, 1, 100, 255], np.uint8)
    assert scale_brightness(frames, 0.5).tolist() == [0, 0, 50, 128]  # 0.5 to even; 127.5 to even
    assert scale_brightness(frames, 2.0).tolist() == [0, 2, 200, 255]
    assert scale_brightness(frames, 1.0).tolist() == frames.tolist()
    assert scale_brightness(frames, 2.0).dtype == np.uint8


def test_a_shift_repeats_the_edge_that_it_leaves():
    frames = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)  # (1, 2, 3)
    assert shift_frames(frames, 0, 1).tolist() == [[[1, 1, 2], [4, 4, 5]]]
    assert shift_frames(frames, 0, -2).tolist() == [[[3, 3, 3], [6, 6, 6]]]
    assert shift_frames(frames, 1, 0).tolist() == [[[1, 2, 3], [1, 2, 3]]]
    assert shift_frames(frames, 0, 0).tolist() == frames.tolist()


def test_swapped_environments_all_see_another_one():
    assert swap_environments(np.array([[1], [2], [3]])).tolist() == [[2], [3], [1]]


def test_noise_has_the_deviation_of_each_number():
    rng = np.random.default_rng(0)
    noisy = add_noise(np.zeros((20_000, 3), np.float32), np.array([0.0, 1.0, 2.0]), rng)
    np.testing.assert_allclose(noisy.std(axis=0), [0.0, 1.0, 2.0], rtol=0.03)
    assert noisy.dtype == np.float32


def test_noise_differs_each_step_and_repeats_with_the_seed():
    def steps():
        perturb = noisy_proprio(np.ones(2), np.random.default_rng(3))
        return [perturb({"proprio": np.zeros((1, 2))}, NO_START)["proprio"] for _ in range(2)]

    first, second = steps()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(steps(), steps())


def test_frozen_frames_stay_those_of_the_episodes_first_step():
    perturb = FrozenFrames()
    assert seen(perturb(stack(7, 7), START)) == [7, 7]
    assert seen(perturb(stack(7, 8), NO_START)) == [7, 7]
    assert seen(perturb(stack(9, 9), START)) == [9, 9]  # the next episode
    assert seen(perturb(stack(9, 10), NO_START)) == [9, 9]


class Chance:
    """A generator that says what is to come."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self, n):
        return np.array([self.numbers.pop(0)])


def test_a_dropped_frame_shows_the_one_before_and_history_is_what_arrived():
    # With a share of 0.5, numbers below it are frames that are lost.
    perturb = DroppedFrames(SMALL, 0.5, Chance(0.9, 0.1, 0.9, 0.9, 0.1, 0.1))  # type: ignore[arg-type]
    assert seen(perturb(stack(1, 1), START)) == [1, 1]
    assert seen(perturb(stack(1, 2), NO_START)) == [1, 1]  # 2 is lost
    assert seen(perturb(stack(2, 3), NO_START)) == [1, 3]  # and stays lost to the stack
    assert seen(perturb(stack(3, 4), NO_START)) == [3, 4]
    assert seen(perturb(stack(5, 5), START)) == [5, 5]  # an episode's first always arrives
    assert seen(perturb(stack(5, 6), NO_START)) == [5, 5]  # and is what is seen after it


def test_no_dropped_frames_change_nothing_and_all_dropped_freeze():
    rng = np.random.default_rng(0)
    none, everything = (DroppedFrames(SMALL, share, rng) for share in (0.0, 1.0))
    for step, starts in enumerate([START, NO_START, NO_START]):
        obs = stack(max(step - 1, 0), step)
        assert seen(none(obs, starts)) == seen(obs)
        assert seen(everything(obs, starts)) == [0, 0]


class WithFrames(FakeVecEnv):
    """Frames as bright as ten times the seed, and the step."""

    def __init__(self, n_envs):
        super().__init__(n_envs, grouped=True)
        state = self.observation_space.spaces["state"]  # type: ignore[attr-defined]
        frame = spaces.Box(0, 255, (2, *SIZE), np.uint8)
        self.observation_space = spaces.Dict(frame=frame, state=state)

    def _obs(self):
        bright = 10 * (self.first + self.episode) + self.steps
        frames = np.ones((self.num_envs, 2, *SIZE)) * bright[:, None, None, None]
        return {"frame": frames.astype(np.uint8), "state": self._state()}


def test_a_perturbed_environment_plays_the_same_episodes_with_other_frames():
    brightest = []

    def act(obs):
        brightest.append(obs["frame"].max())
        return np.full((len(obs["state"]), 2), 0.5, np.float32)

    env = PerturbedEnv(WithFrames(2), on_group("frame", np.zeros_like))
    stats = run_episodes(act, env, SMALL, 10, 5)
    assert max(brightest) == 0
    seeds = range(10, 15)
    assert stats.lengths.tolist() == [length_of(seed) for seed in seeds]
    np.testing.assert_allclose(stats.returns, [return_of(seed, 0.5) for seed in seeds])
    assert stats.distances is not None
    assert stats.distances.tolist() == [length_of(seed) for seed in seeds]


@pytest.mark.parametrize(("perturb", "steps"), [(unperturbed, range(3)), (FrozenFrames(), [0])])
def test_a_perturbation_knows_where_episodes_begin(perturb, steps):
    found = set()

    def act(obs):
        found.update(obs["frame"][:, -1, 0, 0].tolist())
        return np.zeros((len(obs["state"]), 2), np.float32)

    run_episodes(act, PerturbedEnv(WithFrames(3), perturb), SMALL, 0, 9)
    # Every episode has three steps at least; some have four to six.
    assert found >= {10 * seed + step for seed in range(9) for step in steps}
    assert (max(brightness % 10 for brightness in found) == 0) == (len(steps) == 1)
