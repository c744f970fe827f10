"""Episodes, skill and measures against hand arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces

from Common.errors import UserError
from Enviroment import seeds
from Evaluation.evaluate.episodes import (
    EpisodeStats,
    agreement,
    do_nothing,
    mean_interval,
    policy_act,
    random_policy,
    ratio_interval,
    run_episodes,
    skill,
    skill_interval,
)
from Evaluation.evaluate.figures import baselines_on, evaluate_student, figures_table
from tests.support.environments.fake_env import TASK, FakeVecEnv, length_of, return_of


def constant(value):
    def act(obs):
        state = obs["state"] if isinstance(obs, dict) else obs
        return np.full((len(state), 2), value, np.float32)

    return act


def box(low, high):
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(("n_envs", "n_episodes"), [(1, 5), (3, 7), (4, 8), (5, 2)])
def test_each_seed_is_played_once_and_its_rewards_are_summed(grouped, n_envs, n_episodes):
    stats = run_episodes(constant(0.5), FakeVecEnv(n_envs, grouped), TASK, 10, n_episodes)
    seeds = range(10, 10 + n_episodes)
    assert stats.seeds.tolist() == list(seeds)
    assert stats.lengths.tolist() == [length_of(seed) for seed in seeds]
    np.testing.assert_allclose(stats.returns, [return_of(seed, 0.5) for seed in seeds])


def test_short_episodes_are_not_favoured():
    # Even seeds, worker 0's, last 3 and 5 steps, odd ones 4 and 6: of the first 20 episodes to
    # end, 11 are worker 0's, among them that of seed 20.
    env = FakeVecEnv(2, grouped=True)
    stats = run_episodes(constant(1.0), env, TASK, 0, 20)
    assert 20 in env.finished[:20]
    assert stats.lengths.tolist() == [3, 4, 5, 6] * 5
    assert stats.returns.sum() == (3 + 4 + 5 + 6) * 5 + sum(range(20))


def test_an_episode_whose_simulation_diverged_is_not_counted_as_a_short_one():
    class Diverging(FakeVecEnv):
        def step_wait(self):
            obs, rewards, dones, infos = super().step_wait()
            if 12 in self.finished:
                infos[0]["diverged"] = True
            return obs, rewards, dones, infos

    with pytest.raises(UserError, match="diverged in the evaluation episode of seed 12"):
        run_episodes(constant(0.5), Diverging(2, grouped=True), TASK, 10, 4)


def test_distance_is_read_off_the_terminal_state():
    # Lengths 3, 4, 5, 6 are the distances; success is below 4, near below 8.
    stats = run_episodes(constant(0.0), FakeVecEnv(2, grouped=True), TASK, 0, 4)
    assert stats.distances is not None
    assert stats.distances.tolist() == [3.0, 4.0, 5.0, 6.0]
    summary = stats.summary("eval/od_")
    assert summary["eval/od_step_distance"] == 4.5
    assert summary["eval/od_success"] == 0.25
    assert summary["eval/od_near"] == 1.0
    assert summary["eval/od_return"] == (0 + 1 + 2 + 3) / 4
    assert summary["eval/od_length"] == 4.5


def test_a_task_without_a_distance_reports_none():
    task = dataclasses.replace(TASK, distance=None)
    stats = run_episodes(constant(0.0), FakeVecEnv(2, grouped=False), task, 0, 3)
    assert stats.distances is None
    assert stats.success is None
    assert set(stats.summary()) == {"return", "return_std", "return_low", "return_high", "length"}


def test_running_twice_gives_the_same_episodes():
    env = FakeVecEnv(3, grouped=True)
    first = run_episodes(constant(1.0), env, TASK, 5, 4)
    second = run_episodes(constant(1.0), env, TASK, 5, 4)
    np.testing.assert_array_equal(first.returns, second.returns)


def test_measures_are_averaged_over_each_episode():
    # The measure is the step: 0, 1, ..., length - 1, with the mean (length - 1) / 2.
    stats = run_episodes(
        constant(0.0),
        FakeVecEnv(3, grouped=False),
        TASK,
        0,
        5,
        measures={"step": lambda obs, actions: np.asarray(obs)[:, 1]},
    )
    np.testing.assert_allclose(stats.measures["step"], [1.0, 1.5, 2.0, 2.5, 1.0])


def test_no_episodes_are_refused():
    with pytest.raises(UserError, match="at least 1 episode"):
        run_episodes(constant(0.0), FakeVecEnv(2, grouped=True), TASK, 0, 0)


def test_a_terminal_observation_without_state_is_an_error():
    env = FakeVecEnv(1, grouped=True)
    step_wait = env.step_wait

    def without_state():
        obs, rewards, dones, infos = step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = {"frame": None}
        return obs, rewards, dones, infos

    env.step_wait = without_state
    with pytest.raises(ValueError, match="no 'state', only \\['frame'\\]"):
        run_episodes(constant(0.0), env, TASK, 0, 1)


def test_skill_by_hand():
    # means -25, -22, -37: (-25 + 37) / (-22 + 37) = 0.8
    student, teacher, blind = [-24.0, -26.0], [-21.0, -23.0], [-30.0, -44.0]
    arrays = [np.array(values) for values in (student, teacher, blind)]
    assert skill(*arrays) == pytest.approx(0.8)
    assert skill(arrays[1], arrays[1], arrays[2]) == 1.0
    assert skill(arrays[2], arrays[1], arrays[2]) == 0.0


def test_skill_needs_the_same_seeds():
    with pytest.raises(ValueError, match="same seeds"):
        skill(np.zeros(3), np.ones(2), np.zeros(3))


def test_skill_needs_a_teacher_better_than_blind():
    with pytest.raises(UserError, match="no better than that of a blind student"):
        skill(np.zeros(2), np.full(2, -40.0), np.full(2, -37.0))


def test_mean_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        low, high = mean_interval(rng.normal(3.0, 2.0, size=50))
        covered += low <= 3.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_mean_interval_is_close_to_the_normal_one_and_repeatable():
    values = np.random.default_rng(2).normal(size=400)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / 20  # standard error of 400 values
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)
    assert mean_interval(values) == (low, high)


def test_skill_interval_of_paired_returns_is_narrow():
    # The student is 1 below the teacher on every seed, and blind 10 below: skill is 0.9 exactly,
    # whichever seeds are drawn, however much the seeds differ.
    teacher = np.random.default_rng(3).normal(-25, 8, size=30)
    low, high = skill_interval(teacher - 1, teacher, teacher - 10)  # type: ignore[misc]
    assert low == pytest.approx(0.9)
    assert high == pytest.approx(0.9)


def test_too_few_episodes_to_tell_the_teacher_from_blind_have_no_skill_interval():
    """Some seeds, drawn anew, have the two alike: CoinRun's returns are 0 and 10."""
    teacher = np.array([10.0] * 15 + [0.0] * 5)
    blind = np.array([10.0] * 11 + [0.0] * 9)
    assert skill(blind, teacher, blind) == 0.0
    assert skill_interval(blind, teacher, blind) is None
    env = FakeVecEnv(2, grouped=False)
    first = seeds.EVALUATION.start
    own = [return_of(first + i, 0.0) for i in range(4)]
    baselines = {"teacher": {"evaluation": [own[0] + 1, *own[1:]]}, "blind": {"evaluation": own}}
    figures = evaluate_student(constant(0.0), env, TASK, baselines, 4)
    assert figures["skill"] == 0.0
    assert not {"skill_low", "skill_high"} & figures.keys()
    assert figures_table(figures, TASK).row_count


def test_ratio_interval_of_a_constant_ratio_is_that_ratio():
    teacher = np.random.default_rng(4).uniform(1000, 3000, size=30)
    low, high = ratio_interval(0.9 * teacher, teacher)  # type: ignore[misc]
    assert low == pytest.approx(0.9)
    assert high == pytest.approx(0.9)


def test_ratio_interval_is_paired_and_repeatable():
    rng = np.random.default_rng(5)
    teacher = rng.normal(2000, 300, size=200)
    student = 0.8 * teacher + rng.normal(0, 100, size=200)
    low, high = ratio_interval(student, teacher)  # type: ignore[misc]
    # d(S/T) = (dS - 0.8 dT) / T: 100 / (2000 sqrt(200)) = 0.00354 is its standard error.
    assert (low, high) == pytest.approx((0.8 - 0.0069, 0.8 + 0.0069), abs=0.006)
    assert high - low == pytest.approx(2 * 1.96 * 0.00354, rel=0.15)
    assert ratio_interval(student, teacher) == (low, high)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [([1.0, 1.0], [-1.0, -1.0]), ([-1.0, 0.5], [1.0, 1.0]), ([1.0, 1.0], [-1.0, 9.0])],
)
def test_returns_that_are_not_above_zero_have_no_ratio(student, teacher):
    # In the last case one of the two seeds, drawn twice, has a teacher's mean of -1.
    assert ratio_interval(np.array(student), np.array(teacher)) is None


def test_baselines_are_those_of_the_same_seeds():
    known = {
        "teacher": {"evaluation": [1.0, 2.0, 3.0], "validation": [7.0]},
        "blind": {"evaluation": [0.0]},
        "corrupted_teacher": {"evaluation": [4.0, 5.0, 6.0]},
    }
    on = baselines_on(known, range(80_000_001, 80_000_003))
    assert {name: returns.tolist() for name, returns in on.items()} == {
        "teacher": [2.0, 3.0],
        "corrupted_teacher": [5.0, 6.0],
    }
    assert baselines_on(known, range(70_000_000, 70_000_001))["teacher"].tolist() == [7.0]
    assert baselines_on(known, range(20_000_000, 20_000_001)) == {}


def test_a_students_figures_by_hand():
    # From seed 80,000,000 on, which is 0 mod 4 and mod 100: lengths 3, 4, 5, 6, and doing 1 every
    # step returns length + seed % 100 = 3, 5, 7, 9; the mean is 6, of a teacher's 8 three quarters.
    teacher, blind = {"evaluation": [8.0] * 4}, {"evaluation": [4.0] * 4}
    figures = evaluate_student(
        constant(1.0), FakeVecEnv(2, grouped=True), TASK, {"teacher": teacher, "blind": blind}, 4
    )
    assert figures["return"] == 6.0
    assert figures["ratio"] == 0.75
    assert figures["ratio_low"] < 0.75 < figures["ratio_high"]
    assert figures["skill"] == 0.5  # (6 - 4) / (8 - 4)
    assert (figures["first_seed"], figures["episodes"]) == (80_000_000, 4)


class OneEpisode(FakeVecEnv):
    """Begins alike for every seed."""

    def step_wait(self):
        *_, rewards, dones, infos = super().step_wait()
        self.episode[:] = 0
        return self._obs(), rewards, dones, infos


class OneReturn(FakeVecEnv):
    """Has other episodes for other seeds, whose returns are equal: rewards are sparse."""

    def step_wait(self):
        obs, _, dones, infos = super().step_wait()
        return obs, np.where(dones, 1, 0).astype(np.float32), dones, infos


GAME = dataclasses.replace(TASK, suite="atari", simulator="envpool", proprio=(), distance=None)


@pytest.mark.parametrize(
    ("env", "task", "noted"),
    [
        (OneEpisode, TASK, True),
        (OneReturn, TASK, False),
        (FakeVecEnv, TASK, False),
        (OneReturn, GAME, True),  # waits for its player before the same game begins
        (OneReturn, dataclasses.replace(GAME, suite="procgen"), False),  # sampled actions
    ],
)
def test_a_note_on_episodes_that_are_one(env, task, noted, capsys):
    evaluate_student(constant(1.0), env(1, grouped=False), task, {}, 3, first_seed=8)
    note = " ".join(capsys.readouterr().err.split())
    assert ("All 3 episodes of the student have the return" in note) == noted
    assert ("--stochastic" in note) == noted


@pytest.mark.parametrize("blind", [8.0, 9.0])
def test_a_teacher_no_better_than_blind_leaves_skill_out(blind):
    baselines = {"teacher": {"evaluation": [8.0] * 4}, "blind": {"evaluation": [blind] * 4}}
    figures = evaluate_student(constant(1.0), FakeVecEnv(2, True), TASK, baselines, 4)
    assert "skill" not in figures
    assert figures["blind_return"] == blind


def test_returns_below_zero_have_skill_and_no_ratio():
    baselines = {"teacher": {"evaluation": [-8.0] * 4}, "blind": {"evaluation": [-40.0] * 4}}
    figures = evaluate_student(constant(-9.0), FakeVecEnv(2, True), TASK, baselines, 4)
    assert "ratio" not in figures
    assert figures["skill"] == pytest.approx((figures["return"] + 40) / 32)


def test_action_accuracy_by_hand():
    # Bounds -2..4: half the range is 3. Teacher (1, 1); the differences 0, 3 are 0, 1 when scaled,
    # mean square 0.5; the differences 3, 3 give 1; opposite corners (scaled 2, 2) give 1 - 4.
    space = spaces.Box(-2.0, 4.0, (2,), np.float32)
    obs = np.zeros((3, 2), np.float32)
    teacher = np.array([[1.0, 1.0], [1.0, 1.0], [-2.0, -2.0]])
    measure = agreement(lambda obs: teacher, space)["action_accuracy"]
    actions = np.array([[1.0, 4.0], [4.0, -2.0], [4.0, 4.0]])
    np.testing.assert_allclose(measure(obs, actions), [0.5, 0.0, -3.0])


def test_action_accuracy_of_discrete_actions_is_the_share_that_agree():
    measure = agreement(lambda obs: np.array([0, 1, 2]), spaces.Discrete(3))["action_accuracy"]
    assert measure(np.zeros((3, 1)), np.array([0, 2, 2])).tolist() == [1.0, 0.0, 1.0]


def test_unbounded_actions_have_no_accuracy():
    for bound in (np.inf, np.finfo(np.float32).max):
        assert agreement(constant(0.0), spaces.Box(-bound, bound, (2,))) == {}


@pytest.mark.parametrize("obs", [np.zeros((5, 2)), {"frame": np.zeros((5, 1)), "state": None}])
def test_random_policy_is_repeatable_and_within_bounds(obs):
    space = box([-2.0, 0.0], [-1.0, 4.0])
    one, other = random_policy(space, 7), random_policy(space, 7)
    for _ in range(20):
        actions = one(obs)
        assert actions.shape == (5, 2)
        assert actions.dtype == np.float32
        assert all(space.contains(action) for action in actions)
        np.testing.assert_array_equal(actions, other(obs))
    assert not np.array_equal(one(obs), random_policy(space, 8)(obs))


def test_random_discrete_actions_reach_every_value():
    actions = random_policy(spaces.Discrete(3, start=5), 0)(np.zeros((200, 1)))
    assert set(actions.tolist()) == {5, 6, 7}


def test_do_nothing_is_zero_or_the_nearest_to_it():
    space = box([-2.0, 0.5], [2.0, 4.0])
    np.testing.assert_array_equal(do_nothing(space)(np.zeros((2, 3))), [[0.0, 0.5], [0.0, 0.5]])
    assert do_nothing(spaces.Discrete(4))(np.zeros((3, 1))).tolist() == [0, 0, 0]


def test_policy_act_asks_for_the_mode():
    class Policy:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.full(len(observation), float(deterministic)), None

    assert policy_act(Policy())(np.zeros((2, 1))).tolist() == [1.0, 1.0]
    assert policy_act(Policy(), deterministic=False)(np.zeros((2, 1))).tolist() == [0.0, 0.0]


def test_stats_are_frozen():
    stats = EpisodeStats(np.arange(1), np.zeros(1), np.ones(1, int))
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.returns = np.ones(1)  # type: ignore[misc]


class Counting:
    """Acts by its memory alone: the number of steps since the episode began, 1 at first."""

    def __init__(self, n_envs):
        self.steps = np.full(n_envs, 1000)

    def reset(self, begins):
        self.steps[begins] = 0

    def __call__(self, obs):
        self.steps += 1
        return np.repeat(self.steps[:, None], 2, axis=1).astype(np.float32)


def test_a_policy_with_memory_forgets_where_an_episode_begins():
    """An episode of n steps returns 1 + 2 + ... + n, and the seed's share."""
    stats = run_episodes(Counting(3), FakeVecEnv(3, grouped=False), TASK, 101, 8)
    expected = [n * (n + 1) / 2 + seed % 100 for seed in range(101, 109) for n in [length_of(seed)]]
    assert stats.returns.tolist() == expected
