"""Environments as users bring them: `tests.support.goal_envs:PointGoal-v0` and `...:Door-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

_GOALS = ("achieved_goal", "desired_goal")


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


for name, env in {"PointGoal-v0": PointGoal, "Door-v0": Door}.items():
    if name not in gym.registry:
        gym.register(name, env, max_episode_steps=10)
