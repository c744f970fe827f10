"""Does proprioception tell what is to be seen: known answers, and tasks that leak on purpose."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from Common.errors import UserError
from Enviroment.tasks import TASKS
from Evaluation.linear_probe import probe as linear_probe
from Evaluation.linear_probe.__main__ import ProbeFlags
from Evaluation.linear_probe.probe import Steps, held_out_r2, hidden_indices, judge, probe
from tests.support.tiny_dataset import collect_tiny

PUSHER = TASKS["Pusher"]


def steps(states, length=5):
    return Steps(states, np.repeat(np.arange(len(states) // length), length))


def test_what_is_a_linear_map_of_proprioception_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(1000, 6))
    states[:, 3] = 7.0 + 2.0 * states[:, 0] - 0.5 * states[:, 1]
    states[:, 5] = 4.0
    exact, noise, constant = held_out_r2(steps(states), [0, 1, 2], [3, 4, 5])
    assert exact == pytest.approx(1.0, abs=1e-5)
    assert noise == pytest.approx(0.0, abs=0.05)
    assert constant is None


def test_half_of_the_variance_is_half_an_r2():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(40_000, 2))
    states[:, 1] += states[:, 0]  # variance 1 of it predicted, 1 not
    (half,) = held_out_r2(steps(states), [0], [1])
    assert half == pytest.approx(0.5, abs=0.03)  # three standard errors of 10,000 steps


def test_what_tells_an_episode_by_heart_is_of_no_use_in_another():
    # Three numbers of the robot that stay in an episode, and an object somewhere of its own: with
    # steps held out instead of episodes, those of an episode would tell the others.
    rng = np.random.default_rng(2)
    states = np.repeat(rng.normal(size=(40, 21)), 25, axis=0)
    (r2,) = held_out_r2(steps(states, 25), range(20), [20])
    assert r2 is not None
    assert r2 < 0.2


def test_units_do_not_matter():
    rng = np.random.default_rng(3)
    states = rng.normal(size=(500, 3))
    states[:, 2] += states[:, 0]
    scaled = states * np.array([1e4, 1e-4, 1e-3])
    (r2,), (of_scaled,) = (held_out_r2(steps(s), [0, 1], [2]) for s in (states, scaled))
    assert r2 == pytest.approx(of_scaled)


def test_hidden_indices_are_those_outside_proprioception():
    assert hidden_indices(PUSHER, 23) == [17, 18, 19, 20, 21, 22]
    everything = dataclasses.replace(PUSHER, proprio=((0, 23),))
    with pytest.raises(UserError, match="all of the state"):
        hidden_indices(everything, 23)


def test_any_part_of_what_tells_success_is_a_reason_to_warn():
    warn, said = judge(PUSHER, {17: 0.95, 18: 0.1, 19: 0.99, 20: None})
    assert warn
    assert "state[17] with R^2 0.95" in said
    # state[19], the object's height, does not count.
    warn, said = judge(PUSHER, {17: 0.2, 18: 0.5, 19: 0.99, 20: None})
    assert not warn
    assert "state[18] with R^2 0.50" in said


def test_without_a_distance_all_that_varies_has_to_be_told():
    task = dataclasses.replace(PUSHER, distance=None)
    assert judge(task, {17: 0.95, 18: 0.91, 19: None})[0]
    assert not judge(task, {17: 0.95, 18: 0.3})[0]
    assert judge(task, {19: None}) == (
        False,
        "Nothing outside proprioception varies, so there is nothing to see.",
    )


def test_pusher_needs_its_frames_and_an_object_in_proprioception_is_noticed(
    tmp_path, monkeypatch, capsys
):
    result = probe(ProbeFlags(task="Pusher", episodes=12, output=tmp_path / "probe.json"))
    assert not result["warn"]
    assert json.loads((tmp_path / "probe.json").read_text()) == result
    assert (result["episodes"], result["steps"]) == (12, 1200)
    # The fingertip from the object, as a robot's own sense would never have it.
    leaking = dataclasses.replace(PUSHER, proprio=((0, 18),))
    monkeypatch.setattr(linear_probe, "get_task", lambda name: leaking)
    states = np.random.default_rng(0).normal(size=(100, 23))
    states[:, 18] = 3 * states[:, 17]
    monkeypatch.setattr(linear_probe, "_random_steps", lambda flags: (leaking, steps(states)))
    assert probe(ProbeFlags(task="Pusher"))["warn"]
    assert "WARNING: proprioception predicts state[18]" in capsys.readouterr().out


def test_of_a_dataset_the_first_step_of_each_episode_counts(tmp_path, monkeypatch):
    folder = collect_tiny(tmp_path / "data", 130)
    seen = []
    real = linear_probe.held_out_r2
    monkeypatch.setattr(
        linear_probe, "held_out_r2", lambda s, f, t: seen.append(s) or real(s, f, t)
    )
    monkeypatch.setattr(linear_probe, "_EPISODES_PER_FEATURE", 1)
    result = probe(ProbeFlags(dataset=folder))
    assert result["task"] == "Reacher"
    assert result["steps"] == result["episodes"] == len(seen[0].states)
    # Joints at rest: a new episode's velocities (places 6 and 7) are Gymnasium's +-0.005.
    assert np.abs(seen[0].states[:, 6:8]).max() <= 0.005


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (ProbeFlags(), "Give a --task or a --dataset"),
        (ProbeFlags(task="Pushr"), "Did you mean Pusher"),
        (ProbeFlags(task="Pong"), "Pong has no proprioception"),
        (ProbeFlags(task="Pusher", episodes=3), "--episodes 3 must be at least 4"),
    ],
)
def test_what_cannot_be_probed_is_said(flags, said):
    with pytest.raises(UserError) as error:
        probe(flags)
    assert said in str(error.value)


def test_a_dataset_of_few_episodes_tells_nothing(tmp_path):
    folder = collect_tiny(tmp_path / "data", 60)
    with pytest.raises(UserError, match="episodes, but the probe needs at least 12"):
        probe(ProbeFlags(dataset=folder))
