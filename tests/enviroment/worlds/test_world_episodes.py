"""Episodes of the worlds against those of `make_env`: seeds, time limits, infos, states."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from Common.errors import UserError
from Enviroment.make import make_env, make_state_env
from Enviroment.tasks import get_task
from Enviroment.worlds.make import make_worlds
from Evaluation.evaluate.episodes import mean_interval, policy_act, run_episodes
from Models.teacher.policy import Teacher

pytest.importorskip("mujoco_warp")

N = 4
TEACHERS = Path(__file__).parents[3] / "Results"


def _actions(env, n_steps, scale=1.0):
    rng = np.random.default_rng(0)
    return rng.uniform(-scale, scale, (n_steps, N, *env.action_space.shape)).astype(np.float32)


def test_episodes_are_those_of_make_env(device):
    """Reacher: staggered first episodes, whole ones of 50 steps, and all that infos say of them."""
    with contextlib.ExitStack() as stack:
        ours = make_env("Reacher", N, 11, workers="serial", stagger=True)
        worlds = make_worlds("Reacher", N, 11, device, stagger=True)
        for env in (ours, worlds):
            stack.callback(env.close)
        assert worlds.observation_space == ours.observation_space
        assert worlds.action_space == ours.action_space
        _same_observation(worlds.reset(), ours.reset())
        n_whole = 0
        for actions in _actions(ours, 75):
            theirs, mine = ours.step(actions), worlds.step(torch.from_numpy(actions))
            _same_observation(mine[0], theirs[0])
            np.testing.assert_allclose(mine[1], theirs[1], atol=1e-5)
            np.testing.assert_array_equal(mine[2], theirs[2])
            for info, expected in zip(mine[3], theirs[3], strict=True):
                n_whole += _check_info(info, expected)
            assert worlds._episode_seeds.tolist() == ours._episode_seeds.tolist()
            assert worlds.episodes_begun.tolist() == ours.episodes_begun.tolist()
        assert n_whole == 3  # environments 0 and 1 after their shortened episodes, and 3


def _check_info(info, expected):
    """Compare the infos of one environment. Return whether a whole episode has ended."""
    assert info.keys() == expected.keys()
    if "terminal_observation" in info:
        assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
        _same_observation(info["terminal_observation"], expected["terminal_observation"])
    if "episode" not in info:
        return False
    assert info["episode"]["l"] == expected["episode"]["l"] == 50
    assert info["episode"]["r"] == pytest.approx(expected["episode"]["r"], abs=1e-4)
    return True


def _same_observation(mine, theirs):
    assert mine.keys() == theirs.keys()
    for group, values in mine.items():
        assert isinstance(values, torch.Tensor)
        if group == "frame":
            assert values.dtype == torch.uint8
            assert np.abs(values.cpu().numpy().astype(int) - theirs[group]).mean() < 3.5
        else:
            np.testing.assert_allclose(values.cpu().numpy(), theirs[group], atol=5e-5)


def test_hopper_falls_as_in_gymnasium(device):
    with contextlib.ExitStack() as stack:
        ours = make_state_env("Hopper", N, 3, grouped=True)
        worlds = make_worlds("Hopper", N, 3, device, sees=False)
        for env in (ours, worlds):
            stack.callback(env.close)
        assert worlds.observation_space == ours.observation_space
        _same_observation(worlds.reset(), ours.reset())
        ends = 0
        for actions in _actions(ours, 60):
            theirs, mine = ours.step(actions), worlds.step(torch.from_numpy(actions))
            np.testing.assert_array_equal(mine[2], theirs[2])
            np.testing.assert_allclose(
                mine[0]["state"].cpu().numpy(), theirs[0]["state"], atol=2e-3
            )
            for info in [mine[3][i] for i in np.flatnonzero(mine[2])]:
                assert not info["TimeLimit.truncated"]
                ends += 1
        assert ends >= N


def test_a_restored_state_continues_to_the_bit():
    with contextlib.closing(make_worlds("Reacher", N, 7, stagger=True)) as worlds:
        actions = torch.from_numpy(_actions(worlds, 40))
        worlds.reset()
        for step in actions[:20]:
            worlds.step(step)
        saved = worlds.save_state()
        first = [worlds.step(step) for step in actions[20:]]
    with contextlib.closing(make_worlds("Reacher", N, 7, stagger=True)) as again:
        again.reset()
        again.restore_state(saved)
        for expected, step in zip(first, actions[20:], strict=True):
            got = again.step(step)
            assert all(torch.equal(got[0][k], expected[0][k]) for k in got[0])
            np.testing.assert_array_equal(got[1], expected[1])
            assert [i.get("episode", {}).get("r") for i in got[3]] == [
                i.get("episode", {}).get("r") for i in expected[3]
            ]
        with contextlib.closing(make_worlds("Reacher", N, 7)) as other:
            other.reset()
            with pytest.raises(UserError, match="other environments: stagger"):
                other.restore_state(saved)


@pytest.mark.parametrize("stack", [1, 3])
def test_the_last_frame_of_a_diverged_world_is_the_one_before(stack, device):
    task = dataclasses.replace(get_task("Reacher"), stack=stack, frame_size=(16, 16))
    with contextlib.closing(make_worlds(task, N, 7, device)) as worlds:
        worlds.reset()
        actions = torch.ones(N, 2)  # turns the arm, so that frames differ
        for _ in range(8):
            before, *_ = worlds.step(actions)
        worlds._simulation.arrays["qvel"][2] = torch.inf
        *_, infos = worlds.step(actions)
        assert infos[2]["diverged"]
        last = infos[2]["terminal_observation"]["frame"]
        assert torch.equal(last[-1], before["frame"][2, -1])


def test_a_diverged_world_looks_as_if_it_had_stood_still(device):
    with contextlib.closing(make_worlds("Reacher", N, 7, device, max_divergences=1)) as worlds:
        worlds.reset()
        still = torch.zeros(N, 2, device=device)
        first = [worlds.step(still) for _ in range(3)]
        before = first[-1][0]
        worlds._simulation.arrays["qvel"][2] = float("nan")
        obs, rewards, dones, infos = worlds.step(still)
        assert dones.tolist() == [False, False, True, False]
        assert rewards[2] == pytest.approx(np.mean([step[1][2] for step in first]), abs=1e-6)
        last = infos[2]["terminal_observation"]
        assert torch.equal(last["state"], before["state"][2])
        assert torch.equal(last["frame"][-1], before["frame"][2, -1])
        assert infos[2]["diverged"]
        assert infos[2]["TimeLimit.truncated"]
        assert "episode" not in infos[2]
        assert obs["state"].isfinite().all()
        worlds._simulation.arrays["qvel"][2] = float("nan")
        with pytest.raises(UserError, match="diverged 2 times"):
            worlds.step(still)


def test_arrays_are_the_tensors(device):
    with contextlib.ExitStack() as stack:
        tensors, arrays = (make_worlds("Reacher", N, 5, device, tensors=t) for t in (True, False))
        for env in (tensors, arrays):
            stack.callback(env.close)
        obs, expected = arrays.reset(), tensors.reset()
        for group, values in obs.items():
            assert isinstance(values, np.ndarray)
            np.testing.assert_array_equal(values, expected[group].cpu().numpy())


def test_two_halves_are_the_whole():
    """Two ranks with two worlds each: their seeds, staggering and observations."""
    with contextlib.ExitStack() as stack:
        whole, *halves = (make_worlds("Reacher", n, 5, sees=False, stagger=True) for n in (N, 2, 2))
        for env in (whole, *halves):
            stack.callback(env.close)
        for rank, half in enumerate(halves):
            half.take_rows(2 * rank, N)
            half.seed(5)
        _same_groups(whole.reset(), [half.reset() for half in halves])
        for actions in torch.from_numpy(_actions(whole, 30)):
            expected = whole.step(actions)
            got = [half.step(part) for half, part in zip(halves, actions.split(2), strict=True)]
            _same_groups(expected[0], [step[0] for step in got])
            np.testing.assert_array_equal(expected[2], np.concatenate([step[2] for step in got]))


def _same_groups(whole, halves):
    for group, values in whole.items():
        assert torch.equal(values, torch.cat([half[group] for half in halves]))


def test_blind_worlds_draw_nothing():
    with contextlib.closing(make_worlds("Reacher", N, 5, blind=True)) as worlds:
        obs = worlds.reset()
        assert obs["frame"].shape == (N, 4, 64, 64)
        assert not obs["frame"].any()
        assert worlds._simulation._render is None


def test_bad_actions_are_refused(device):
    with contextlib.closing(make_worlds("Reacher", N, 5, device, sees=False)) as worlds:
        worlds.reset()
        with pytest.raises(ValueError, match="shape"):
            worlds.step(torch.zeros(N, 3))
        bad = torch.zeros(N, 2)
        bad[1, 0] = float("inf")
        with pytest.raises(ValueError, match=r"\[1\] are not finite"):
            worlds.step(bad)


@pytest.mark.parametrize(
    ("name", "algo", "n_episodes"),
    [
        ("Pusher", "ppo", 24),
        ("Reacher", "sac", 48),
        pytest.param("Hopper", "ppo", 20, marks=pytest.mark.slow),
        pytest.param("HalfCheetah", "ppo", 20, marks=pytest.mark.slow),
    ],
)
def test_returns_of_a_shipped_teacher_are_those_in_gymnasium(name, algo, n_episodes, device):
    """The same seeds begin the same episodes, so the interval is that of the differences."""
    task = get_task(name)
    teacher = Teacher.load(TEACHERS / name / "teachers" / algo)
    act = policy_act(teacher)
    with contextlib.ExitStack() as stack:
        ours = make_state_env(task, 8, 0, grouped=False)
        worlds = make_worlds(task, 8, 0, device, sees=False, tensors=False)
        for env in (ours, worlds):
            stack.callback(env.close)
        theirs = run_episodes(act, ours, task, 100, n_episodes)
        mine = run_episodes(lambda obs: act(obs["state"]), worlds, task, 100, n_episodes)
    low, high = mean_interval(mine.returns - theirs.returns, level=0.99)
    assert low - 1e-3 <= 0 <= high + 1e-3
    assert abs(mine.returns.mean() / theirs.returns.mean() - 1) < 0.1
