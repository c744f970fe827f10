"""`Student`: the actions of evaluations from single frames, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.make import make_env, make_state_env
from Enviroment.tasks import TASKS
from Evaluation.evaluate.acts import begin_episodes
from Evaluation.evaluate.episodes import policy_act
from Models.student.bundle import save_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from vision_distillation import Student

TASK = dataclasses.replace(TASKS["Reacher"], frame_size=(16, 16))


def write_student(
    folder: Path, mode: str = "ImpaalaSmall", recurrent: str = "none", **notes: Any
) -> Path:
    """A bundle of a student of Reacher with random weights."""
    box = spaces.Box(-np.inf, np.inf, (10,), np.float32)
    n_joints = len(TASK.proprio_indices)
    groups = {
        "frame": spaces.Box(0, 255, (TASK.stack, 16, 16), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (n_joints,), np.float32),
        "state": box,
    }
    config = StudentConfig(mode=mode, precision="float32", head=(16,), recurrent=recurrent)
    policy = StudentPolicy(spaces.Dict(groups), spaces.Box(-1, 1, (2,)), lambda _: 0, config=config)
    save_student(policy, folder, {"task": "Reacher", **notes})
    return folder


@pytest.mark.parametrize(("n_robots", "recurrent"), [(1, "none"), (3, "none"), (3, "gru")])
def test_actions_over_episodes_are_those_of_evaluations(
    tmp_path: Path, n_robots: int, recurrent: str
) -> None:
    """Over the end of an episode, after which one robot after the other begins again."""
    student = Student.load(write_student(tmp_path, recurrent=recurrent, frame_interval=3))
    assert student.task.frame_interval == 3
    env = make_env(student.task, n_robots, 0, stagger=True)
    act = policy_act(student.policy)
    obs: Any = env.reset()
    ended = 0
    for _ in range(60):
        expected = act(obs)
        frames, joints = obs["frame"][:, -1:], obs["proprio"]  # the newest frame only
        if n_robots == 1:
            action = student.act(frames[0, 0], joints[0].astype(np.float64))
            np.testing.assert_array_equal(action, expected[0])
        else:
            np.testing.assert_array_equal(student.act(frames, joints), expected)
        obs, _, dones, _ = env.step(expected)
        begin_episodes(act, dones)
        student.reset(dones)
        ended += dones.sum()
    env.close()
    assert ended >= n_robots


def test_a_recurrent_student_forgets_only_at_a_reset(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path, recurrent="gru"))
    first, second = (student.act(FRAME, JOINTS) for _ in range(2))
    assert not np.array_equal(first, second)
    student.reset()
    np.testing.assert_array_equal(student.act(FRAME, JOINTS), first)
    student.reset([True])
    np.testing.assert_array_equal(student.act(FRAME, JOINTS), first)


def test_a_student_of_the_state_acts_on_states(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path, "State"))
    env = make_state_env(student.task, 2, 0, grouped=True)
    obs: Any = env.reset()
    env.close()
    expected = policy_act(student.policy)(obs)
    np.testing.assert_array_equal(student.act(state=obs["state"]), expected)
    student.reset([True, False])  # as a loop does, whatever the student observes
    np.testing.assert_array_equal(student.act(state=obs["state"]), expected)


def test_samples_differ_and_modes_do_not(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path, "State"))
    state = np.zeros(10)
    sampled = {tuple(student.act(state=state, deterministic=False)) for _ in range(3)}
    assert len(sampled) == 3
    assert len({tuple(student.act(state=state)) for _ in range(3)}) == 1


def test_a_blind_student_ignores_frames(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path, blind=True))
    joints = np.zeros(len(TASK.proprio_indices))
    black = student.act(np.zeros((16, 16), np.uint8), joints)
    student.reset()
    np.testing.assert_array_equal(student.act(np.full((16, 16), 255, np.uint8), joints), black)


def test_pictures_of_a_camera_become_its_frames(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path))
    frame = student.frame_of(np.zeros((480, 640, 3), np.uint8))
    assert frame.shape == student.frame_shape == (1, 16, 16)


FRAME, JOINTS = np.zeros((1, 16, 16), np.uint8), np.zeros(len(TASK.proprio_indices))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frame": FRAME}, "observes `frame` and `proprio`, but got `frame`"),
        ({"state": np.zeros(10)}, "but got `state`"),
        ({"frame": FRAME.astype(float), "proprio": JOINTS}, "of float64 must be"),
        ({"frame": np.zeros((3, 16, 16), np.uint8), "proprio": JOINTS}, "`frame_of` converts"),
        ({"frame": FRAME, "proprio": JOINTS[1:]}, "must have"),
        ({"frame": FRAME, "proprio": JOINTS * np.nan}, "not finite"),
        ({"frame": FRAME[None].repeat(2, 0), "proprio": JOINTS[None]}, "numbers of robots"),
        ({"frame": FRAME[None].repeat(2, 0), "proprio": JOINTS[None].repeat(2, 0)}, "`reset`"),
        ({"frame": FRAME[None][:0], "proprio": JOINTS[None][:0]}, "holds no robot"),
    ],
)
def test_wrong_observations_are_refused(tmp_path: Path, given: dict, message: str) -> None:
    student = Student.load(write_student(tmp_path))
    student.act(FRAME, JOINTS)
    with pytest.raises(UserError, match=message):
        student.act(**given)


def test_wrong_resets_and_folders_are_refused(tmp_path: Path) -> None:
    student = Student.load(write_student(tmp_path / "bundle"))
    student.act(FRAME, JOINTS)
    with pytest.raises(UserError, match="each of the 1 robots"):
        student.reset([True, False])
    with pytest.raises(UserError, match="no folder"):
        Student.load(tmp_path / "missing")
