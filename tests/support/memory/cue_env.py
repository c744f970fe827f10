"""An environment that only a student with memory solves: the goal is shown at the beginning.

A cart on a line has to be at the goal. A picture shows the goal (top half) for the first `SHOWN`
env steps, and the cart (bottom half) always. The cart is held until step `HELD`, when the goal has
left every stack of frames, so that its place cannot stand in for a memory. The state holds the
goal, so that a teacher of one layer solves the task: it pushes towards the goal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from Models.distributions import DiagGaussian
from Models.teacher.policy import TeacherDescription, save_teacher

ENV_ID = "tests.support.memory.cue_env:Cue-v0"
LENGTH, SHOWN, HELD = 30, 10, 18  # env steps
HEIGHT, WIDTH = 16, 32  # pixels
NEAR = 0.15  # distance from the goal that is a success; places are -1 to 1
_SPEED = 0.25  # per env step
_GAIN, _STD = 2.0, 0.3  # of the teacher


class Cue(gym.Env):
    """See the module. The state is the cart's place and the goal."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.goal = float(self.np_random.uniform(0.4, 1.0) * self.np_random.choice([-1, 1]))
        self.place, self.steps = 0.0, 0
        return self._state(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.steps >= HELD:
            self.place = float(np.clip(self.place + _SPEED * action[0], -1, 1))
        self.steps += 1
        distance = abs(self.place - self.goal)
        return self._state(), -distance, False, False, {"is_success": distance < NEAR}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if self.steps < SHOWN:
            picture[: HEIGHT // 2, _columns(self.goal)] = 255
        picture[HEIGHT // 2 :, _columns(self.place)] = 255
        return picture

    def _state(self) -> np.ndarray:
        return np.array([self.place, self.goal], np.float32)


def _columns(place: float) -> slice:
    middle = round((place + 1) / 2 * (WIDTH - 4)) + 2
    return slice(middle - 2, middle + 2)


def write_teacher(folder: Path) -> Path:
    """Write the bundle of the teacher, whose mean action is the clipped distance to the goal."""
    description = TeacherDescription(
        task="Cue-v0",
        algo="ppo",
        family=DiagGaussian.family,
        state_dim=2,
        action_dim=1,
        action_low=(-1.0,),
        action_high=(1.0,),
        actor_layers=(),
        critic_layers=(),
        n_critics=1,
        value_kind="state",
        activation="Tanh",
        normaliser_clip=10.0,
        normaliser_epsilon=1e-8,
        reward_scale=1.0,
        gamma=0.99,
        command="none",
        versions={},
        baselines={},
    )
    tensors = {
        "state_normaliser.mean": torch.zeros(2, dtype=torch.float64),
        "state_normaliser.var": torch.ones(2, dtype=torch.float64),
        "head.weight": torch.tensor([[-_GAIN, _GAIN]]),
        "head.bias": torch.zeros(1),
        "log_std": torch.full((1,), float(np.log(_STD))),
        "critics.0.0.weight": torch.zeros(1, 2),
        "critics.0.0.bias": torch.zeros(1),
    }
    save_teacher(folder, tensors, description, {})
    return folder


if "Cue-v0" not in gym.registry:
    gym.register("Cue-v0", entry_point=lambda **kwargs: Cue(**kwargs), max_episode_steps=LENGTH)
