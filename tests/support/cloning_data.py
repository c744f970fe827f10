"""A small dataset in memory, students for it, and what the tests of cloning share."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import KVWriter

from Models.distributions import Categorical, SquashedGaussian
from Models.student.policy import StudentConfig, StudentPolicy

STATE_DIM, PROPRIO_DIM, ACTION_DIM = 6, 3, 2
FRAME_SHAPE = (2, 16, 16)


class MemoryData:
    """Episodes of 10 steps, whose labels are smooth functions of the state: they can be learned."""

    def __init__(self, n_episodes: int = 20, family: str = SquashedGaussian.family) -> None:
        rng = np.random.default_rng(0)
        n, self.family = 10 * n_episodes, family
        self.episodes = np.repeat(np.arange(n_episodes), 10)
        state = rng.normal(size=(n, STATE_DIM)).astype(np.float32)
        weights = rng.normal(size=(STATE_DIM, ACTION_DIM)).astype(np.float32)
        self.columns = {
            "state": state,
            "proprio": state[:, :PROPRIO_DIM],
            "frame": rng.integers(0, 255, (n, *FRAME_SHAPE), np.uint8),
        }
        mean = np.tanh(state @ weights)
        if family == Categorical.family:
            self.columns["distribution.logits"] = 3 * mean
        else:
            self.columns["distribution.mean"] = mean
            self.columns["distribution.log_std"] = np.full_like(mean, -1.5)

    def __len__(self) -> int:
        return len(self.episodes)

    def read(self, indices: np.ndarray, columns: Collection[str]) -> dict[str, np.ndarray]:
        return {name: self.columns[name][indices] for name in columns}

    def episode_numbers(self) -> np.ndarray:
        return self.episodes

    def split(self, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The first episodes validate."""
        held_out = self.episodes < validation_fraction * (self.episodes[-1] + 1)
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def identity(self) -> dict[str, Any]:
        content = b"".join(array.tobytes() for _, array in sorted(self.columns.items()))
        return {"states": len(self), "sha256": hashlib.sha256(content).hexdigest()}


def student(
    mode: str = "State", family: str = SquashedGaussian.family, recurrent: str = "none"
) -> StudentPolicy:
    """The same weights every time."""
    torch.manual_seed(0)
    box = spaces.Box(-np.inf, np.inf, (STATE_DIM,), np.float32)
    groups = {
        "state": box,
        "proprio": spaces.Box(-np.inf, np.inf, (PROPRIO_DIM,), np.float32),
        "frame": spaces.Box(0, 255, FRAME_SHAPE, np.uint8),
    }
    discrete = family == Categorical.family
    actions = spaces.Discrete(ACTION_DIM) if discrete else spaces.Box(-2, 2, (ACTION_DIM,))
    config = StudentConfig(
        mode=mode,
        family=family,
        precision="float32",
        head=(32, 32),
        init_log_std=-0.5,
        recurrent=recurrent,
        recurrent_units=8,
    )
    return StudentPolicy(spaces.Dict(groups), actions, lambda _: 1e-3, config=config)


class Recorder(KVWriter):
    """Keeps every logging point."""

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        self.points.append(dict(key_values) | {"step": step})

    def close(self) -> None:
        pass

    def curve(self, key: str) -> list[float]:
        return [point[key] for point in self.points if key in point]
