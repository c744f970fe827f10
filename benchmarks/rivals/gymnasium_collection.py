"""Rival of `benchmarks/collection.py`: the usual collection with Gymnasium and SB3.

In one environment, an SB3 SAC predicts one action per step, `env.render()` renders, OpenCV resizes
the picture and converts it to gray, everything is appended to lists, and NumPy writes them to a
file. The agent has the shipped teacher's network with random weights, which has the same costs.

For each number of env steps on standard input, it runs them and prints the seconds per step.

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
    """Collect a dataset, and return the file's content.

    Args:
        size: height and width of frames in pixels.
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
    """Serve requests until standard input ends."""
    torch.set_num_threads(1)  # more threads are slower for a single state
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
