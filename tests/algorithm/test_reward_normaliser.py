"""Rewards are normalised as by SB3, and observations are its copies or the tensors themselves."""

from __future__ import annotations

import contextlib

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from Algorithm.reward_normaliser import RewardNormaliser


def test_rewards_are_those_of_sb3() -> None:
    envs = [DummyVecEnv([lambda: gym.make("Pendulum-v1")]) for _ in range(2)]
    ours = RewardNormaliser(envs[0], norm_reward=True, gamma=0.9)
    theirs = VecNormalize(envs[1], norm_obs=False, gamma=0.9)
    rng = np.random.default_rng(0)
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
    for _ in range(300):
        action = rng.uniform(-2, 2, (1, 1)).astype(np.float32)
        mine, expected = ours.step(action), theirs.step(action)
        for value, other in zip(mine[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(value, other)


def test_tensors_are_not_copied_and_arrays_are() -> None:
    pytest.importorskip("mujoco_warp")
    from Enviroment.worlds.make import make_worlds

    for tensors in (True, False):
        with contextlib.closing(make_worlds("Reacher", 2, 0, sees=False, tensors=tensors)) as env:
            env = RewardNormaliser(env, norm_reward=True, gamma=0.9)
            obs = env.reset()
            assert isinstance(obs, dict)
            assert isinstance(obs["state"], torch.Tensor if tensors else np.ndarray)
            assert (env.normalize_obs(obs) is obs) == tensors
