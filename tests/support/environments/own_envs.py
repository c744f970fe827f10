"""Environments as a user may bring them: no MuJoCo, pictures of NumPy, every kind of space.

An agent on a line of 48 pixels looks for a mark. Its episodes have 6 steps, after which the
environment truncates itself, or Gymnasium does.

`PointGoal-v0` and `Door-v0` are registered on import and report success.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

_GOALS = ("achieved_goal", "desired_goal")
LENGTH = 6  # env steps
HEIGHT, WIDTH = 36, 48  # pixels; SB3's CNN needs 36

ACTIONS: dict[str, spaces.Space] = {
    "discrete": spaces.Discrete(3),
    "from_one": spaces.Discrete(3, start=1),
    "choices": spaces.MultiDiscrete([3, 2]),
    "switches": spaces.MultiBinary(2),
    "box": spaces.Box(-1.0, 1.0, (2,)),
    "integers": spaces.Box(-2, 2, (2,), np.int64),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,)),
    "tuple": spaces.Tuple([spaces.Discrete(2)]),
}
_PLACE, _GOAL = spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(0, 47, (1,), np.int64)
_PICTURE = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
OBSERVATIONS: dict[str, spaces.Space] = {
    "vector": spaces.Box(-np.inf, np.inf, (3,)),
    "table": spaces.Box(-np.inf, np.inf, (3, 2)),
    "bits": spaces.MultiBinary(6),
    # Gymnasium sorts a plain dictionary: goal, joints, side.
    "groups": spaces.Dict({"side": spaces.Discrete(2), "joints": _PLACE, "goal": _GOAL}),
    "nested": spaces.Dict({"robot": spaces.Dict({"x": _PLACE, "y": _PLACE}), "goal": _GOAL}),
    "seen": spaces.Dict({"joints": _PLACE, "eye": spaces.Box(0, 255, (36, 36, 3), np.uint8)}),
    "picture": _PICTURE,
    "told": spaces.Dict({"joints": _PLACE, "words": spaces.Text(5)}),
}


class Line(gym.Env):
    """See the module.

    Args:
        actions, observations: keys of `ACTIONS` and `OBSERVATIONS`.
        own_limit: whether the environment truncates its episodes itself.
        scale: factor of the reward.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        actions: str = "discrete",
        observations: str = "vector",
        own_limit: bool = False,
        scale: float = 1.0,
        sizes: list[int] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.action_space, self.observation_space = ACTIONS[actions], OBSERVATIONS[observations]
        self.own_limit, self.scale, self.sizes = own_limit, scale, sizes
        self.render_mode, self._kind = render_mode, observations
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.mark = 5.0, int(self.np_random.integers(20, 48))
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.received.append(np.array(action))
        self.place = float(np.clip(self.place + np.sum(action), 0, 47))
        self.steps += 1
        ended = self.own_limit and self.steps == LENGTH
        reward = -self.scale * abs(self.place - self.mark) / 48
        return self.observe(), reward, False, ended, {}

    def observe(self) -> Any:
        """Return the current observation."""
        place = np.array([self.place, self.steps], np.float32)
        goal = np.array([self.mark])
        parts: dict[str, Any] = {
            "vector": np.r_[place, goal].astype(np.float32),
            "table": np.arange(6, dtype=np.float32).reshape(3, 2) + self.mark,
            "bits": np.array([self.mark >> bit & 1 for bit in range(6)], np.int8),
            "groups": {"goal": goal, "joints": place, "side": int(self.place > self.mark)},
            "nested": {"goal": goal, "robot": {"x": place, "y": place + 1}},
            "seen": {"eye": self.picture()[:36, :36], "joints": place},
            "picture": self.picture(),
            "told": {"joints": place, "words": "left"},
        }
        return parts[self._kind]

    def picture(self) -> np.ndarray:
        """Return the picture of this moment."""
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        picture = np.stack([rows * 5, columns * 4, rows + columns], axis=-1).astype(np.uint8)
        picture[:, self.mark] = (255, 0, 0)
        picture[4:12, int(self.place)] = (0, 255, 40)
        return picture

    def render(self) -> Any:
        assert self.render_mode == "rgb_array"
        return self.picture()


class Dark(Line):
    """An environment that promises pictures, and fails to draw them."""

    def render(self) -> Any:
        raise RuntimeError("no display")


class Endless(Line):
    """An environment whose episodes never end."""


class Half(gym.RewardWrapper):
    """Halve the rewards."""

    def reward(self, reward: Any) -> float:
        return float(reward) / 2


class Broken(gym.RewardWrapper):
    """Give a reward that is no number, as after a division of 0 by 0."""

    def reward(self, reward: Any) -> float:
        return float("nan")


class Talk(gym.Wrapper):
    """Change the actions to something that no student has."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.action_space = spaces.Text(3)


class Greedy(gym.Wrapper):
    """A wrapper that needs more than an environment."""

    def __init__(self, env: gym.Env, more: int) -> None:
        super().__init__(env)


class PointGoal(gym.Env):
    """A point that moves to a goal in a square; goal-conditioned, as Gymnasium-Robotics' tasks."""

    NEAR = 0.3

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        plane = spaces.Box(-2.0, 2.0, (2,), np.float64)
        own = spaces.Box(-9.0, 9.0, (3,), np.float64)
        groups: dict[str, spaces.Space] = {"observation": own}
        self.observation_space = spaces.Dict(groups | dict.fromkeys(_GOALS, plane))
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.place = np.clip(self.place + 0.2 * action, -2, 2)
        reward = float(self.compute_reward(self.place, self.goal, {}))
        return self._obs(), reward, False, False, {"is_success": np.float32(reward + 1.0)}

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return np.asarray(np.linalg.norm(achieved - desired, axis=-1) < self.NEAR, float) - 1.0

    def _obs(self) -> dict[str, np.ndarray]:
        own = np.array([*self.place, 1.0])
        return {"observation": own, "achieved_goal": self.place, "desired_goal": self.goal}


class Door(gym.Env):
    """Action 1 opens it, action 0 closes it: open at the end is success. It may swing meanwhile."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(0, 1, 2).astype(np.float32)
        return self.state, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.state = np.array([action, self.state[1]], np.float32)
        return self.state, float(action), False, False, {"success": bool(action)}


def register() -> None:
    """Register all of them; call `unregister` afterwards."""
    for cls, limit in ((Line, LENGTH), (Dark, LENGTH), (Endless, None)):
        make: Any = cls
        gym.register(f"{cls.__name__}-v0", entry_point=make, max_episode_steps=limit)


def unregister() -> None:
    """Undo `register`."""
    for name in ("Line-v0", "Dark-v0", "Endless-v0"):
        gym.registry.pop(name, None)


for name, env in {"PointGoal-v0": PointGoal, "Door-v0": Door}.items():
    if name not in gym.registry:
        gym.register(name, env, max_episode_steps=10)
