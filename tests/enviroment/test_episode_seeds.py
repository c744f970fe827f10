"""Seeds of training episodes: counted by episodes, within their range, and whole ones reported."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

from Algorithm.env_state import capture_env, restore_env
from Common.errors import NoStateError, UserError
from Enviroment import seeds
from Enviroment.make import make_state_env
from Enviroment.vector import StateVecEnv

BLOCK = seeds.training(0)  # 20,000,000 to 21,999,999


def play(env: StateVecEnv, n_steps: int) -> list[list[tuple[int, int]]]:
    """(step, length) of each environment's reported episodes."""
    ends: list[list[tuple[int, int]]] = [[] for _ in range(env.num_envs)]
    actions = np.zeros((env.num_envs, 2), np.float32)
    for step in range(1, n_steps + 1):
        *_, infos = env.step(actions)
        for index, info in enumerate(infos):
            if "episode" in info:
                ends[index].append((step, info["episode"]["l"]))
    return ends


def test_seeds_go_round_within_their_range() -> None:
    assert seeds.further(BLOCK.start, 5) == BLOCK.start + 5
    assert seeds.further(BLOCK.stop - 2, 5) == BLOCK.start + 3
    assert seeds.further(BLOCK.start + 3, -5) == BLOCK.stop - 2
    assert seeds.further(seeds.training(1).stop - 1, 1) == seeds.training(1).start
    assert seeds.further(seeds.EVALUATION.stop - 1, 1) == seeds.EVALUATION.start
    assert seeds.further(7, 5) == 12  # in no range


def test_first_seeds_go_round_too() -> None:
    """As of a round of DAgger that begins with the last seeds of its run."""
    with contextlib.closing(make_state_env("Reacher", 4, BLOCK.stop - 2)) as env:
        env.reset()
        played = [env.running_seed(i) for i in range(4)]
        assert played == [BLOCK.stop - 2, BLOCK.stop - 1, BLOCK.start, BLOCK.start + 1]
        env.take_rows(1, 5)
        env.seed(BLOCK.stop - 2)
        env.reset()
        played = [env.running_seed(i) for i in range(4)]
        assert played == [BLOCK.stop - 1, BLOCK.start, BLOCK.start + 1, BLOCK.start + 2]


def test_the_seeds_of_all_runs_are_apart() -> None:
    runs = range(seeds.MAX_RUN_INDEX + 1)
    of_runs = [of(run) for run in runs for of in (seeds.training, seeds.teacher_training)]
    blocks = sorted(
        [*of_runs, seeds.DATASET, seeds.MODEL, seeds.VALIDATION, seeds.EVALUATION],
        key=lambda block: block.start,
    )
    assert all(a.stop <= b.start for a, b in itertools.pairwise(blocks))
    assert blocks[-1].stop < 2**31
    assert seeds.training(9) == range(38_000_000, 40_000_000)
    assert seeds.training(10) == range(1_000_000_000, 1_002_000_000)
    assert len({seeds.model(run) for run in runs}) == len(runs)
    assert seeds.further(seeds.training(11).stop - 1, 2) == seeds.training(11).start + 1
    for run in (-1, seeds.MAX_RUN_INDEX + 1):
        with pytest.raises(UserError, match="outside 0 to 255"):
            seeds.training(run)


def test_episodes_that_staggering_shortens_are_not_reported() -> None:
    """Reacher's limit is 50: of four environments the first ends at 13 (12.5), 25 and 38 steps."""
    env = make_state_env("Reacher", 4, BLOCK.start, stagger=True)
    env.reset()
    ends = play(env, 100)
    assert [of_env[0][1] for of_env in ends] == [50, 50, 50, 50]
    assert [of_env[0][0] - 50 for of_env in ends] == [12, 25, 38, 0]
    assert [len(of_env) for of_env in ends] == [1, 1, 1, 2]
    assert env.episodes_begun.tolist() == [3, 3, 3, 3]
    env.reset()
    assert [len(of_env) for of_env in play(env, 40)] == [0, 0, 0, 0]


def test_a_restored_environment_knows_which_episodes_are_short() -> None:
    env = make_state_env("Reacher", 2, BLOCK.start, stagger=True)
    env.reset()
    play(env, 10)
    state = env.save_state()
    other = make_state_env("Reacher", 2, 3, stagger=True)
    other.restore_state(state)
    assert play(other, 70) == play(env, 70) == [[(65, 50)], [(40, 50)]]
    for name in ("episodes_begun", "shortened"):  # as version 0.1 saved it
        del state.arrays[name]
    other.restore_state(state)
    assert play(other, 20) == [[(15, 25)], []]


def test_resuming_counts_episodes_and_stays_within_the_runs_own_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: StateVecEnv) -> None:
        raise NoStateError("A game cannot be saved.")

    monkeypatch.setattr(StateVecEnv, "save_state", refuse)
    first = BLOCK.stop - 5  # so that a few episodes pass the range's end
    env = make_state_env("Reacher", 2, first)
    env.reset()
    play(env, 120)  # two whole episodes each, and one that runs: seeds first to first + 5
    state = capture_env(env)
    assert state["episodes_begun"] == 3
    resumed = make_state_env("Reacher", 2, first)
    with pytest.warns(UserWarning, match="cannot be saved"):
        obs, _ = restore_env(resumed, state)
    # The seventh and eighth seed from `first` on: five are left of the range, then it starts over.
    expected = make_state_env("Reacher", 2, BLOCK.start + 1).reset()
    np.testing.assert_array_equal(obs, expected)
    assert capture_env(resumed)["episodes_begun"] == 4
