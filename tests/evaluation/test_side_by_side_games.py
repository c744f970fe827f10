"""Teacher and student of a game beside each other; the game is a stand-in, drawn by arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from Enviroment.tasks import get_task
from Evaluation.side_by_side import film as side_by_side
from Evaluation.side_by_side.__main__ import SideBySideFlags

COINRUN = get_task("CoinRun")
STEPS = 15


class Game(VecEnv):
    """The action is the reward of each of 15 steps; a frame is as bright as ten times the step."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.space = spaces.Box(0, 255, (3, 64, 64), np.uint8)
        super().__init__(1, spaces.Dict({"frame": self.space}), spaces.Discrete(15))

    def _obs(self) -> dict[str, np.ndarray]:
        return {"frame": np.full((1, 3, 64, 64), 10 * self.step_, np.uint8)}

    def reset(self) -> Any:
        self.step_ = 0
        return self._obs()

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        self.step_ += 1
        last = {"frame": self._obs()["frame"][0]}
        done = self.step_ == STEPS
        infos = [{"terminal_observation": last} if done else {}]
        return self._obs(), self.actions.astype(np.float32), np.array([done]), infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False]


class Always:
    """Takes one action; keeps whether it was asked for its most probable one."""

    def __init__(self, action: int) -> None:
        self.action, self.asked = action, set()
        self.description = SimpleNamespace(task="CoinRun")

    def predict(
        self, obs: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, None]:
        self.asked.add(deterministic)
        return np.array([self.action]), None


def test_a_game_is_filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = Always(2), Always(3)
    subject = SimpleNamespace(
        task=COINRUN,
        folder=tmp_path,
        student=student,
        groups={"frame": None},
        blind=False,
        run=None,
        description={"method": "PPD", "config": {"size": "smaller"}},
        make_env=Game,
    )
    taught = SimpleNamespace(teacher=teacher, is_corrupted=False)
    monkeypatch.setattr(side_by_side, "open_subject", lambda *_: subject)
    monkeypatch.setattr(side_by_side, "find_teacher", lambda *_: taught)
    monkeypatch.setattr(side_by_side, "make_env", Game)
    side_by_side.film(SideBySideFlags((tmp_path,), height=64, output=tmp_path / "out.mp4"))
    described = json.loads((tmp_path / "out.json").read_text())
    assert described["players"] == [
        {"name": "Teacher", "return": 3.0 * STEPS},
        {"name": "PPD, smaller", "return": 2.0 * STEPS},
    ]
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert student.asked == teacher.asked == {False}  # Procgen is played by samples
