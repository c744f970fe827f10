"""Small datasets of a teacher that is arithmetic, and of episodes that end when they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from Enviroment.dataset.collect import collect
from Enviroment.tasks import TASKS

LONGEST = 12  # env steps


class ShortReacher(gym.Wrapper):
    """Reacher whose episode of seed s ends by itself after 3 + s % 17 steps, or is cut off."""

    def __init__(self):
        super().__init__(gym.make("Reacher-v5", disable_env_checker=True))

    def reset(self, *, seed=None, options=None):
        assert seed is not None
        self.left = 3 + seed % 17
        return super().reset(seed=seed, options=options)

    def step(self, action):
        state, reward, _, _, info = super().step(action)
        self.left -= 1
        return state, reward, self.left == 0, False, info


def _short_reacher(**_) -> ShortReacher:
    return ShortReacher()


gym.register("ShortReacher-v0", _short_reacher, max_episode_steps=LONGEST)
TASK = replace(TASKS["Reacher"], env_id="ShortReacher-v0", frame_size=(16, 24))


def length_of(seed: int) -> int:
    return min(3 + seed % 17, LONGEST)


class ArithmeticTeacher:
    """Multiplies by a matrix as a teacher does, so its rounding depends on the batch's shape."""

    def __init__(self, gain: float = 1.0, with_value: bool = True) -> None:
        generator = np.random.default_rng(7)
        self.matrix = generator.normal(0, gain, (10, 2)).astype(np.float32)
        self.identity = {"sha256": f"{gain:g}", "family": "gaussian", "min_std": 0.05}
        self.with_value = with_value
        self.fail_after: int | None = None  # calls
        self.calls = 0

    groups = ("state",)

    def __call__(self, observations):
        states = observations["state"]
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise KeyboardInterrupt
        mean = np.tanh(states @ self.matrix)
        labels = {
            "action": np.clip(mean, -1, 1),
            "distribution.mean": mean,
            "distribution.log_std": np.full_like(mean, -1.0),
        }
        if self.with_value:
            labels["value"] = states.sum(axis=1)
        return labels

    def check_fits(self, task, observation_space, action_space):
        shapes = observation_space["state"].shape, action_space.shape
        assert (task, *shapes) == ("Reacher", (10,), (2,))


def collect_tiny(folder: Path, num_data: int = 130, **arguments) -> Path:
    teacher = arguments.pop("teacher", None) or ArithmeticTeacher()
    task = arguments.pop("task", TASK)
    return collect(task, teacher, folder, num_data, **{"n_envs": 2, **arguments})


def content(folder: Path) -> dict[str, bytes]:
    """Every byte of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
