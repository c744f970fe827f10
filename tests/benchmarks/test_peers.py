"""The peers see what they should, and their teacher is ours."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from benchmarks.peers import sb3_distill_ppd, setting
from benchmarks.peers.__main__ import PEERS, CompareArguments, read_rows, report
from benchmarks.peers.sb3_distill_ppd import TeacherModel, WithoutState
from benchmarks.peers.setting import SEEN, Arguments, Clock, Groups, LiveTeacher, Row
from benchmarks.rivals.recomputing_loop import RecomputingPPD
from Enviroment.make import make_env
from Enviroment.observations import FRAME, PROPRIO, STATE
from Evaluation.evaluate.episodes import policy_act

SMALL = dataclasses.replace(setting.TASK, frame_size=(36, 36))  # the least for a Nature-CNN
FIGURES = {
    "return": -30.0,
    "return_low": -31.0,
    "return_high": -29.0,
    "success": 0.25,
    "skill": 0.5,
    "teacher_return": -26.0,
    "blind_return": -34.0,
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Arguments:
    """Two environments, two env steps a rollout and two episodes."""
    monkeypatch.setattr(setting, "TASK", SMALL)
    monkeypatch.setattr(setting, "N_ENVS", 2)
    monkeypatch.setitem(sb3_distill_ppd._README, "n_steps", 8)
    monkeypatch.setitem(sb3_distill_ppd._README, "batch_size", 4)
    return Arguments(env_steps=32, episodes=2)


@pytest.mark.parametrize("names", [SEEN, (FRAME,), (*SEEN, STATE)])
def test_a_student_sees_only_its_groups(names: tuple[str, ...]) -> None:
    inner = make_env(SMALL, 2, 0, n_workers=1)
    env = Groups(inner, names)
    try:
        obs = env.reset()
        for _ in range(100):  # to the time limit
            obs, _, dones, infos = env.step(np.zeros((2, 7), np.float32))
        assert dones.all()
        for seen in (obs, infos[0]["terminal_observation"]):
            assert isinstance(seen, np.ndarray) if len(names) == 1 else set(seen) == set(names)
        assert env.states.shape == (2, 23)
        np.testing.assert_array_equal(env.states, inner._observation()[STATE])
        space = env.observation_space
        if len(names) > 1:
            assert isinstance(space, spaces.Dict)
            assert set(space.spaces) == set(names)
        else:
            assert space == inner.observation_space[FRAME]  # pyright: ignore[reportIndexIssue]
    finally:
        env.close()


def test_the_teacher_of_sb3_distill_is_ours() -> None:
    states = torch.randn(5, 23)
    ours = setting.teacher().distribution(states)
    theirs = TeacherModel().policy.get_distribution({STATE: states, FRAME: torch.zeros(5)})
    raw = torch.randn(5, 7)
    torch.testing.assert_close(theirs.log_prob(raw), ours.log_prob(raw))
    torch.testing.assert_close(theirs.mode(), ours.mode())
    assert theirs.distribution.stddev.min() >= setting.MIN_STD - 1e-6


def test_the_student_of_frames_is_blind_to_the_state() -> None:
    env = make_env(SMALL, 1, 0, n_workers=1)
    assert isinstance(env.observation_space, spaces.Dict)
    extractor = WithoutState(env.observation_space)
    obs = {name: torch.as_tensor(group) for name, group in env.reset().items()}
    obs[FRAME] = obs[FRAME] / 255
    features = extractor(obs)
    torch.testing.assert_close(extractor({**obs, STATE: torch.full((1, 23), 9.0)}), features)
    changed = extractor({**obs, PROPRIO: obs[PROPRIO] + 1})
    assert not torch.equal(changed, features)
    env.close()


def test_the_teacher_of_dagger_reads_the_environments(small: Arguments) -> None:
    env = setting.training_env(small, (FRAME,))
    expert = LiveTeacher(env, lambda: env.states)
    obs = env.reset()
    actions, _ = expert.predict(obs, deterministic=True)
    np.testing.assert_allclose(actions, policy_act(setting.teacher())(env.states), rtol=1e-6)
    env.close()


@pytest.mark.parametrize("student", ["state", "cnn"])
def test_sb3_distill_runs_where_it_is_installed(
    student: str, small: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a module of its name with the same interface: the stand-in and `set_teacher`."""
    monkeypatch.setitem(sys.modules, "sb3_distill", None)
    missing = sb3_distill_ppd.run(small, student)
    assert missing.figures is None
    assert "not on the package index" in missing.note

    class TheirPPD(RecomputingPPD):
        def set_teacher(self, teacher_model: Any, distill_lambda: float) -> None:
            self.teacher, self.distill_lambda = teacher_model, distill_lambda

    module = SimpleNamespace(ProximalPolicyDistillation=TheirPPD)
    monkeypatch.setitem(sys.modules, "sb3_distill", module)
    monkeypatch.setattr(sb3_distill_ppd, "versioned", lambda *names: names[0])
    theirs = sb3_distill_ppd.run(small, student)
    ours = sb3_distill_ppd.run_stand_in(small, student)
    assert theirs.figures == ours.figures
    assert theirs.env_steps == 32
    assert theirs.gradient_steps == 2 * (16 // 4) * 5  # rollouts, minibatches, epochs


def test_a_pause_is_not_counted() -> None:
    clock = Clock()
    first = clock.pause()
    sum(range(10**6))
    clock.resume()
    second = clock.pause()  # minutes of wall clock and of processor time
    assert 0 <= first[0] <= second[0] < 1
    assert 0 <= first[1] <= second[1] < 1


def test_rows_are_in_one_table(tmp_path: Path) -> None:
    first, *_, last = names = [name for names in PEERS.values() for name in names]
    done = Row("ours", "PPD", figures=FIGURES, env_steps=34_560, gradient_steps=4_320)
    done = dataclasses.replace(done, minutes=2.0, cpu_minutes=3.0)
    done.write(tmp_path / "0", first)
    better = {**FIGURES, "return": -28.0, "skill": 0.8, "success": 0.35}
    dataclasses.replace(done, figures=better, minutes=4.0).write(tmp_path / "1", first)
    Row("theirs", "DAgger", note="cannot").write(tmp_path / "0", last)
    data = tmp_path / "earlier.json"
    earlier = {"peer": "earlier", "figures": None, "note": ""}
    data.write_text(json.dumps({first: {"0": earlier}, names[1]: {"0": earlier}}))
    rows = read_rows(tmp_path, data)
    peers = [(name, [row["peer"] for row in runs.values()]) for name, runs in rows.items()]
    assert peers == [(first, ["ours", "ours"]), (names[1], ["earlier"]), (last, ["theirs"])]
    del rows[names[1]]
    for row in rows[first].values():
        row["machine"] = {"processor": "some processor", "threads": "1"}
    text = report(rows, CompareArguments())
    line = "| ours | PPD | frames, joints | 2 | -29.00 | 30% | 0.650 | 0.500, 0.800 | 34,560 |"
    assert f"{line} 4,320 | 3.0 | 3.0 |" in text
    assert "| theirs | DAgger | frames, joints | not run |" in text
    assert "- theirs, DAgger: cannot." in text
    assert "- imitation, DAgger, MultiInputPolicy: " in text  # also what no peer can do
    assert "the teacher's return is -26.00" in text.replace("\n", " ")
    assert f"- `{first}`: processor some processor; threads 1." in text
