"""The rival of `benchmarks/collection.py`: a dataset as people collect it with Gymnasium and SB3.

One environment; an SB3 SAC is asked a step at a time, `env.render()` draws, OpenCV shrinks the
picture and makes it gray, everything is appended to lists, and NumPy writes them to a file. The
agent has the shipped teacher's network with random weights: what it says costs the same.

It answers each number of env steps on standard input with the seconds that one took.

Usage: python benchmarks/rivals/gymnasium_collection.py ENV_ID RENDER_SIZE HEIGHT WIDTH UNITS
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC


def collect(env: gym.Env, teacher: SAC, size: tuple[int, int], n_steps: int) -> bytes:
    """The dataset as a file's content.

    Args:
        size: of the frames in pixels, height and width.
    """
    columns: dict[str, list] = {"frame": [], "state": [], "action": [], "reward": [], "done": []}
    state, _ = env.reset()
    for _ in range(n_steps):
        picture = env.render()
        assert isinstance(picture, np.ndarray)
        small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        action, _ = teacher.predict(state, deterministic=True)
        following, reward, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        for name, value in zip(columns, (gray, state, action, reward, done), strict=True):
            columns[name].append(value)
        state = env.reset()[0] if done else following
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
    np.savez(file, **arrays)
    return file.getvalue()


def main(env_id: str, render_size: int, size: tuple[int, int], units: tuple[int, ...]) -> None:
    """Serves until standard input ends."""
    torch.set_num_threads(1)  # more only wait for each other over a single state
    env = gym.make(env_id, render_mode="rgb_array", width=render_size, height=render_size)
    teacher = SAC("MlpPolicy", env, policy_kwargs={"net_arch": list(units)}, device="cpu")
    env.reset(seed=0)
    for line in sys.stdin:
        start = time.perf_counter()
        collect(env, teacher, size, int(line))
        print((time.perf_counter() - start) / int(line), flush=True)
    env.close()


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:5]]
    layers = tuple(int(units) for units in sys.argv[5].split(","))
    main(sys.argv[1], numbers[0], (numbers[1], numbers[2]), layers)
