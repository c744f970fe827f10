"""What an environment and its wrappers keep in Python is saved and restored bit-for-bit.

The judge is the environment itself, which goes on and was never restored.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from Algorithm.cloning.dagger_round import Round
from Algorithm.env_state import capture_env, restore_env
from Algorithm.on_policy.ppd import PPD
from Common.errors import NoStateError, UserError
from Common.runs.packing import pack, unpack
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.held import Held, take
from Enviroment.simulation.held_restore import put
from Enviroment.simulation.state import EnvState
from Enviroment.task import Task
from Enviroment.tasks import TASKS
from tests.distillation.runs.test_resume import check_equal, learn_in_two_parts, small_ppd
from tests.support.environments import keeping_env
from tests.support.environments.keeping_env import START, Goal, Phase


def task(name: str) -> Task:
    return Task(name, f"{keeping_env.__name__}:Test{name}-v0", None, (), None)


def actions(n_steps: int, n_envs: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.8, 0.8, (n_steps, n_envs, 1)).astype(np.float32)


def stored(state: EnvState) -> EnvState:
    """As it comes back from files."""
    arrays = {name: array.copy() for name, array in state.arrays.items()}
    return EnvState(arrays, json.loads(json.dumps(state.values, allow_nan=False)))


def go_on(env: Any, steps: np.ndarray) -> list[tuple[bytes, bytes]]:
    shown = (env.step(step)[:2] for step in steps)
    return [(obs.tobytes(), rewards.tobytes()) for obs, rewards in shown]


@pytest.mark.parametrize("name", ["Keeping", "Late"])
@pytest.mark.parametrize("at", [0, 1, 13, 30, 37])
def test_everything_that_is_kept_in_python_is_restored(name, at):
    """At an episode's start, within it, at its end and within the second; then 50 more steps."""
    env, fresh = (make_state_env(task(name), 2, seed) for seed in (5, 900))
    steps = actions(at + 50, 2)
    env.reset()
    go_on(env, steps[:at])
    state = stored(env.save_state())
    expected = go_on(env, steps[at:])
    fresh.reset()
    go_on(fresh, steps[:7])
    fresh.restore_state(state)
    assert go_on(fresh, steps[at:]) == expected
    assert len(set(expected)) == 50  # rewards differ from step to step
    env.close()
    fresh.close()


def test_worker_processes_restore_it_too():
    blind: dict[str, Any] = {"workers": "process", "n_workers": 1, "blind": True}
    seen = replace(task("Late"), camera=TASKS["Pusher"].camera)
    env = make_state_env(task("Late"), 2, 5)
    steps = actions(60, 2)
    env.reset()
    go_on(env, steps[:17])
    rewards = [env.step(step)[1].tobytes() for step in steps[17:]]
    other, fresh = (make_env(seen, 2, seed, **blind) for seed in (5, 70))
    other.reset()
    for step in steps[:17]:
        other.step(step)
    fresh.restore_state(stored(other.save_state()))
    assert [fresh.step(step)[1].tobytes() for step in steps[17:]] == rewards
    for each in (env, other, fresh):
        each.close()


def test_what_is_shared_stays_shared_and_constants_stay_what_they_are():
    env: Any = gym.make(task("Keeping").env_id, disable_env_checker=True)
    other: Any = gym.make(task("Keeping").env_id, disable_env_checker=True)
    env.reset(seed=0)
    for _ in range(9):
        env.step(np.ones(1, np.float32))
    other.reset(seed=0)
    put(other, take(env))
    ours, theirs = other.unwrapped, env.unwrapped
    assert ours.rewards is ours.log["rewards"]
    assert ours.row.base is ours.table
    assert np.shares_memory(ours.position, ours.data.qpos)
    assert (ours.phase, ours.act.__name__) == (Phase.PUSH, "push")
    assert ours.act.__self__ is ours
    assert ours.goal == theirs.goal == Goal(0.3)
    assert (START.x, Phase.REACH.value) == (0.0, 1)  # the environments' common objects
    assert ours.model.body_mass[1] == theirs.model.body_mass[1] != 0
    assert ours.model.opt.gravity[0] == theirs.model.opt.gravity[0] != 0
    assert list(ours.order) == list(theirs.order) == ["b", "a"]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, -(2**70), 0.1, np.nan, -np.inf, "text", b"bytes", 1 - 2j),
        *((1, (2, [3])), {1: {2, 3}, (4, "5"): frozenset({6})}),
        *(np.float16(0.1), np.int8(-3), np.str_("a"), np.datetime64("2020-01-02")),
        *(np.arange(6).reshape(2, 3).T, np.array([], np.float32), np.array(1.5), np.array(["ab"])),
        *(
            np.arange(9)[::-2],
            np.asfortranarray(np.ones((2, 3)))[1:],
            np.array([None, "a"], object),
        ),
        *(np.random.RandomState(3).get_state(), Path("a/b")),
    ],
)
def test_values_of_each_kind_come_back(value):
    was = take(SimpleNamespace(value=value))
    target = SimpleNamespace(value=None)
    put(target, Held(json.loads(json.dumps(was.tree, allow_nan=False)), was.chunks))
    assert type(target.value) is type(value)
    np.testing.assert_equal(target.value, value)
    if isinstance(value, np.ndarray):
        assert (target.value.dtype, target.value.strides) == (value.dtype, value.strides)


def test_two_that_were_one_at_the_episodes_start_are_restored_as_two():
    now, start = SimpleNamespace(a=[1], b=[2]), SimpleNamespace(a=[0])
    start.b = start.a
    now.c = now.a
    put(start, take(now))
    assert (start.a, start.b) == ([1], [2])
    assert start.c is start.a


def test_where_a_file_lies_stays_this_machines_matter():
    target = SimpleNamespace(a="/here/model.xml", b=Path("/here"), c="word")
    put(target, take(SimpleNamespace(a="/there/model.xml", b=Path("/there"), c="other")))
    assert (target.a, target.b, target.c) == ("/here/model.xml", Path("/here"), "other")


def test_what_cannot_be_stored_and_has_not_changed_is_no_obstacle():
    env, fresh = (make_state_env(task("Painting"), 1, seed) for seed in (5, 6))
    steps = actions(20, 1)
    env.reset()
    go_on(env, steps[:9])
    fresh.restore_state(env.save_state())
    assert go_on(fresh, steps[9:]) == go_on(env, steps[9:])
    env.close()
    fresh.close()


def test_a_tensor_is_compared_and_not_taken_for_an_empty_object():
    one, same, other = (SimpleNamespace(net=torch.ones(3)) for _ in range(3))
    other.net[1] = 2
    held = take(one)
    put(same, held)
    assert same.net.tolist() == [1, 1, 1]
    with pytest.raises(NoStateError, match="in another state"):
        put(other, held)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (1.0, "its env.env.when cannot be restored: it was a builtins.slice, and .* another state"),
        (-1.0, "Painting.* cannot be saved: its env.env.targets is or holds a builtins.generator"),
    ],
)
def test_what_cannot_be_stored_and_has_changed_begins_new_episodes_and_says_so(action, message):
    """The episodes are those that would have come next: the seeds 5 + 2 and 5 + 3."""
    env, fresh, next_ = (make_state_env(task("Painting"), 2, seed) for seed in (5, 7, 7))
    wrapped = VecNormalize(fresh)
    env.reset()
    env.step(np.full((2, 1), action, np.float32))
    state = unpack(*pack(capture_env(VecNormalize(env))))
    with pytest.warns(UserWarning, match=f"(?s){message}.*start of an episode") as warned:
        obs, has_begun = restore_env(wrapped, state)
    assert has_begun
    assert len(warned) == 1
    np.testing.assert_array_equal(obs, wrapped.normalize_obs(next_.reset()))
    for each in (env, fresh, next_):
        each.close()


def test_training_goes_on_bit_for_bit_from_a_checkpoints_files(tmp_path):
    """Episodes of 30 steps in 2 environments: at 96 env steps they are in the middle."""

    def make() -> PPD:
        return small_ppd(make_state_env(task("Late"), 2, 5))

    check_equal(make().learn(160), learn_in_two_parts(make, 96, 160, tmp_path))


def test_training_goes_on_at_an_episodes_start_where_it_must_and_says_so_once(tmp_path):
    def make() -> PPD:
        return small_ppd(make_state_env(task("Painting"), 2, 5))

    with pytest.warns(UserWarning, match="start of an episode") as warned:
        model = learn_in_two_parts(make, 64, 96, tmp_path)
    assert (len(warned), model.num_timesteps) == (1, 96)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.values["trees"].__setitem__(0, "{"), "damaged: JSONDecodeError"),
        (lambda s: s.values["trees"].__setitem__(0, "[" * 10**5), "damaged: RecursionError"),
        (lambda s: s.values["trees"].__setitem__(0, '{"exec": "x"}'), "damaged: KeyError"),
        (lambda s: s.values["trees"].__setitem__(0, '{"same": 7}'), "damaged: IndexError"),
        (lambda s: s.values["sizes"].__setitem__(0, 7), "'held' is not as long as its parts"),
        (lambda s: s.values["chunks"].__setitem__(0, [10**6]), "damaged: IndexError"),
        (lambda s: s.values["chunks"].__setitem__(0, []), "damaged: IndexError"),
    ],
)
def test_a_damaged_state_is_refused(spoil, message):
    env = make_state_env(task("Keeping"), 1, 0)
    env.reset()
    state = stored(env.save_state())
    spoil(state)
    with pytest.raises(UserError, match=message):
        env.restore_state(state)
    env.close()


def test_no_object_is_made_of_a_class_that_the_file_names():
    tree = {"object": ["builtins.SimpleNamespace", {"a": {"object": ["os.Popen", {}]}}]}
    tree["object"][0] = f"{SimpleNamespace.__module__}.{SimpleNamespace.__qualname__}"
    with pytest.raises(NoStateError, match=r"its a cannot be restored: it was a os\.Popen"):
        put(SimpleNamespace(), Held(tree, ()))


def test_a_round_of_dagger_goes_on_where_new_episodes_begin():
    """Two environments at their second and first episode: the next seeds are behind three rows."""
    collecting = Round(obs="old", starts=np.array([False, True]), begun=np.array([2, 1]), steps=4)
    collecting.begin_again("new")
    assert (collecting.obs, collecting.starts.tolist()) == ("new", [True, True])
    assert (collecting.begun.tolist(), collecting.steps) == ([3, 2], 4)
