"""Environments as others write them: what they keep, reuse and forget."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from Common.errors import UserError, WorkerError
from Distillation.starting.camera_preview import write_preview
from Enviroment.custom import custom_task, rules_of
from Enviroment.dataset.collect import collect
from Enviroment.make import make_state_env
from Enviroment.simulation.step_rate import steps_per_second
from Enviroment.simulation.workers import WorkerKind
from Evaluation.video import video_fps
from Models.teacher.adoption import adopt
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher, record_baseline, save_teacher
from tests.support.tiny_teacher import tiny_teacher

NAME = "Habits-v0"


class Habits(gym.Env[np.ndarray, np.ndarray]):
    """A point that is paid for slow changes of its action, with one habit of its author."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's)

    def __init__(self, habit: str = "", render_mode: str | None = None) -> None:
        kind: Any = np.float16 if habit == "float16" else np.float32
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), kind)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.render_mode, self.habit, self.kind = render_mode, habit, kind
        self._picture = np.zeros((40, 40, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.age = self.np_random.uniform(-1, 1, 2), 0
        self.last = np.zeros(2, np.float32)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> Any:
        reward: Any = -float(np.abs(action - self.last).sum())
        self.last = action  # not a copy
        match self.habit:
            case "reward of one":
                reward = np.array([[reward]])
            case "rewards":
                reward = np.array([reward, reward])
            case "no info":
                return self._observation(), reward, False, False, None
        self.place, self.age = self.place + 0.1 * action, self.age + 1
        return self._observation(), reward, False, False, {}

    def _observation(self) -> np.ndarray:
        match self.habit:
            case "float16":
                return np.array([250 + self.age, 1], np.float16)  # its square is too large for them
            case "nan" if self.age == 3:
                return np.array([np.nan, 0], np.float32)
            case "short" if self.age == 3:
                return np.zeros(1, np.float32)
        return self.place.astype(np.float32)

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._picture[:] = int(np.clip(40 * (self.place[0] + 3), 0, 255))
        return self._picture  # every picture in the same array


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gym.register(NAME, entry_point=f"{__name__}:Habits", max_episode_steps=20)
    gym.register("Endless-v7", entry_point=f"{__name__}:Habits")
    yield
    for name in (NAME, "Endless-v7"):
        gym.registry.pop(name, None)


def play(env: VecEnv, n_steps: int) -> None:
    for _ in range(n_steps):
        env.step(np.zeros((1, 2), np.float32))


def test_an_environment_without_a_clock_may_have_data_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The `data` of MuJoCo's environments tells the time; that of others is anything."""
    monkeypatch.setattr(Habits, "metadata", {"render_modes": ["rgb_array"]})
    monkeypatch.setattr(Habits, "data", {"points": 2}, raising=False)
    assert steps_per_second(custom_task(NAME)) == 30  # as if nothing is known


@pytest.mark.parametrize(("seconds", "rate"), [(2.5, 0.4), (0.015, 67), (0.05, 20)])
def test_the_rate_of_steps_of_a_simulation(
    seconds: float, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Timed(Habits):
        metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

        def __init__(self, **made: Any) -> None:
            super().__init__(**made)
            self.data = mujoco.MjData(mujoco.MjModel.from_xml_string("<mujoco/>"))

        def step(self, action: np.ndarray) -> Any:
            self.data.time += seconds
            return super().step(action)

    monkeypatch.setitem(
        gym.registry, NAME, dataclasses.replace(gym.registry[NAME], entry_point=Timed)
    )
    assert steps_per_second(custom_task(NAME)) == pytest.approx(rate)
    assert video_fps(custom_task(NAME)) == pytest.approx(min(rate, 33.5))


def test_the_rewards_of_an_environment_that_keeps_its_action_are_those_of_sb3() -> None:
    """As for the penalty of a change of action, the usual one in robotics."""
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1, 2)).astype(np.float32)
    theirs = DummyVecEnv([lambda: gym.make(NAME)])
    ours = make_state_env(custom_task(NAME), 1, 0)
    theirs.reset()
    ours.reset()
    expected = [theirs.step(action)[1][0] for action in actions]
    assert np.abs(np.diff(expected)).min() > 0
    np.testing.assert_allclose([ours.step(action)[1][0] for action in actions], expected)
    ours.close()


@pytest.mark.parametrize("workers", ["serial", "thread"])
def test_several_environments_keep_their_own_actions(workers: WorkerKind) -> None:
    env = make_state_env(custom_task(NAME), 3, 0, workers=workers)
    env.reset()
    ones = np.ones((3, 2), np.float32)
    assert env.step(ones)[1].tolist() == [-2, -2, -2]
    assert env.step(-ones)[1].tolist() == [-4, -4, -4]
    env.close()


def test_observations_of_float16_whose_square_is_too_large_are_no_divergence() -> None:
    env = make_state_env(custom_task(NAME, env_kwargs={"habit": "float16"}), 1, 0)
    env.reset()
    for _ in range(19):
        _, _, dones, infos = env.step(np.zeros((1, 2), np.float32))
        assert not dones[0] and "diverged" not in infos[0]
    assert env.step(np.zeros((1, 2), np.float32))[3][0]["episode"]["l"] == 20
    env.close()


def test_an_observation_of_nan_is_named() -> None:
    env = make_state_env(custom_task(NAME, env_kwargs={"habit": "nan"}), 1, 0)
    env.reset()
    with pytest.raises(UserError, match="observation holds NaN or infinity, or MuJoCo found"):
        play(env, 40)
    env.close()


def test_a_reward_in_an_array_is_a_number() -> None:
    env = make_state_env(custom_task(NAME, env_kwargs={"habit": "reward of one"}), 1, 0)
    env.reset()
    assert env.step(np.ones((1, 2), np.float32))[1].tolist() == [-2]
    env.close()


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        ("rewards", r"the reward has shape \(2,\), but it must be a number"),
        ("no info", "the info of a step is None, not a dictionary"),
    ],
)
def test_what_a_step_must_return_is_named(habit: str, message: str) -> None:
    env = make_state_env(custom_task(NAME, env_kwargs={"habit": habit}), 1, 0)
    env.reset()
    with pytest.raises(WorkerError, match=message):
        play(env, 1)
    env.close()


def test_an_observation_outside_its_space_is_not_spread_over_the_state() -> None:
    env = make_state_env(custom_task(NAME, env_kwargs={"habit": "short"}), 1, 0)
    env.reset()
    with pytest.raises(
        WorkerError, match=r"has shape \(1,\), but the observation space has \(2,\)"
    ):
        play(env, 3)
    env.close()


def test_pictures_in_one_array_are_reproducible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = dataclasses.replace(custom_task(NAME, frames="env"), frame_size=(24, 24))
    write_preview(task, tmp_path / "look.png")
    assert "by 0.0 of 255 on average." in capsys.readouterr().out


def test_a_dataset_of_an_environment_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Enviroment.dataset.recording._OPEN_EPISODE", 50)
    made = tiny_teacher("gaussian", 2, 2, 1.0, "Endless-v7")
    task = custom_task("Endless-v7")
    with pytest.raises(UserError, match=r"not ended after 60 env steps.*Give `max_episode_steps`"):
        collect(task, TeacherLabeller(made), tmp_path / "data", 60, n_envs=2)


def test_stored_returns_count_in_the_same_episodes_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time limit of 5 makes other returns than one of 20."""
    made = tiny_teacher("gaussian", 2, 2, 1.0, NAME, {"teacher": {"evaluation": [-9.0] * 3}})
    assert adopt(made, custom_task(NAME)).description.baselines == made.description.baselines
    short = custom_task(NAME, max_episode_steps=5)
    adopted = adopt(made, short)
    assert adopted.description.baselines == {}
    told = capsys.readouterr().err
    assert (
        'acts in Habits-v0 with {"max_episode_steps": 5}. Its stored returns are not used' in told
    )
    assert adopted.description.identity == made.description.identity
    own = dataclasses.replace(made.description, rules=rules_of(short))
    save_teacher(tmp_path / "teacher", made.state_dict(), own, {})
    kept = adopt(Teacher.load(tmp_path / "teacher"), short).description
    assert kept.baselines == made.description.baselines
    assert adopt(Teacher.load(tmp_path / "teacher"), custom_task(NAME)).description.baselines == {}


def test_returns_of_other_episodes_do_not_stand_side_by_side(tmp_path: Path) -> None:
    """A converted agent has no returns: those of its first blind student decide."""
    made = tiny_teacher("gaussian", 2, 2, 1.0, NAME)
    save_teacher(tmp_path / "teacher", made.state_dict(), made.description, {})
    blind = {"evaluation": [-3.0]}
    record_baseline(tmp_path / "teacher", "blind", blind, rules={"max_episode_steps": 5})
    short = custom_task(NAME, max_episode_steps=5)
    kept = adopt(Teacher.load(tmp_path / "teacher"), short).description
    assert kept.baselines == {"blind": blind}
    assert adopt(Teacher.load(tmp_path / "teacher"), custom_task(NAME)).description.baselines == {}
    record_baseline(tmp_path / "teacher", "teacher", blind)
    with pytest.raises(UserError, match=r'with \{"max_episode_steps": 5\}.*beside those with \{\}'):
        record_baseline(tmp_path / "teacher", "blind", blind, rules={})
