"""The rollout buffer: frames kept once, SB3's order of samples, returns by hand."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch.distributions import Normal

from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.rollout import FrameHistory, StudentRolloutBuffer
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Models.distributions import DiagGaussian
from Models.student.policy import StudentPolicy


@pytest.mark.parametrize(("grayscale", "n_steps"), [(True, 5), (False, 5), (True, 16)])
def test_stacks_equal_those_that_were_seen(grayscale: bool, n_steps: int) -> None:
    """Over several rollouts, with episodes that begin anywhere, against a plain list of frames."""
    task = dataclasses.replace(TASKS["Pusher"], frame_size=(16, 16), grayscale=grayscale)
    channels, n_envs = (1 if grayscale else 3), 3
    rng = np.random.default_rng(0)
    history = FrameHistory(n_steps, n_envs, task, torch.device("cpu"))
    episodes: list[list[np.ndarray]] = [[] for _ in range(n_envs)]
    for rollout in range(6):
        history.start_rollout()
        seen = {}
        for step in range(n_steps):
            starts = rng.random(n_envs) < 0.15
            if rollout == step == 0:
                starts[:] = True
            stacks = []
            for i in range(n_envs):
                if starts[i]:
                    episodes[i] = []
                episodes[i].append(rng.integers(0, 256, (channels, 16, 16), np.uint8))
                last = len(episodes[i]) - 1
                stacks.append(np.concatenate([episodes[i][max(0, last - b)] for b in (6, 4, 2, 0)]))
            history.add(step, np.stack(stacks), starts)
            seen |= {(step, i): stack for i, stack in enumerate(stacks)}
        order = rng.permutation(n_steps * n_envs)
        steps, envs = order // n_envs, order % n_envs
        read = history.read(steps, envs).numpy()
        expected = np.stack([seen[key] for key in zip(steps, envs, strict=True)])
        np.testing.assert_array_equal(read, expected)


def test_a_rollout_that_ended_early_leaves_its_own_frames() -> None:
    """As a callback that stops the training does; then it goes on."""
    task = dataclasses.replace(TASKS["Pusher"], frame_size=(16, 16))
    history = FrameHistory(16, 1, task, torch.device("cpu"))
    frames = [np.full((1, 16, 16), i, np.uint8) for i in range(25)]

    def add(step: int, i: int) -> None:
        stack = np.concatenate([frames[max(0, i - back)] for back in (6, 4, 2, 0)])
        history.add(step, stack[None], np.array([i == 0]))

    history.start_rollout()
    for i in range(16):
        add(i, i)
    history.start_rollout()
    for i in range(16, 21):
        add(i - 16, i)
    captured = history.capture()["frames"].clone()
    history.start_rollout()
    add(0, 21)
    read = history.read(np.array([0]), np.array([0]))[0]
    assert read[:, 0, 0].tolist() == [15, 17, 19, 21]
    assert captured[:, 0, 0, 0, 0].tolist() == [15, 16, 17, 18, 19, 20]


@pytest.mark.parametrize("normalises_rewards", [False, True])
def test_a_stack_may_have_more_channels_than_rows_of_pixels(normalises_rewards: bool) -> None:
    """SB3 takes the smallest side for the channels, and would transpose such frames."""
    reacher = TASKS["Reacher"]
    task = dataclasses.replace(reacher, frame_size=(16, 24), stack=18, frame_interval=1)
    with contextlib.closing(make_env(task, 2, seed=0, workers="serial")) as env:
        wrapped = VecNormalize(env, norm_obs=False) if normalises_rewards else env
        student = PPD(StudentPolicy, wrapped, distill_lambda=0.0, n_steps=2, device="cpu")
        student.learn(4)
        assert student.observation_space["frame"].shape == (18, 16, 24)  # pyright: ignore[reportIndexIssue]


def _filled(buffer: StudentRolloutBuffer | RolloutBuffer, n_steps: int, n_envs: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(n_steps):
        obs = rng.normal(size=(n_envs, 2)).astype(np.float32)
        actions = rng.normal(size=(n_envs, 1)).astype(np.float32)
        rewards, values = rng.normal(size=(2, n_envs)).astype(np.float32)
        starts, raw = rng.random(n_envs) < 0.2, torch.tensor(actions)
        mean, log_std = torch.tensor(rng.normal(size=(2, n_envs, 1)).astype(np.float32))
        if isinstance(buffer, StudentRolloutBuffer):
            student = DiagGaussian(mean, log_std)
            buffer.add_step(obs, raw, rewards, starts, student, torch.tensor(values))
        else:
            log_prob = Normal(mean, log_std.exp()).log_prob(raw).sum(-1)
            buffer.add(obs, actions, rewards, starts, torch.tensor(values), log_prob)
    last = torch.tensor(rng.normal(size=n_envs).astype(np.float32))
    buffer.compute_returns_and_advantage(last, np.zeros(n_envs))


def test_minibatches_equal_sb3s() -> None:
    arguments = (7, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), "cpu", 0.9, 0.99, 3)
    ours, theirs = StudentRolloutBuffer(*arguments), RolloutBuffer(*arguments)
    _filled(ours, 7, 3)
    _filled(theirs, 7, 3)
    np.random.seed(5)
    expected = list(theirs.get(4))
    np.random.seed(5)
    batches = list(ours.minibatches(4))
    assert len(batches) == len(expected) == 6  # 21 samples
    for ours_, theirs_ in zip(batches, expected, strict=True):
        torch.testing.assert_close(ours_.obs, theirs_.observations)
        torch.testing.assert_close(ours_.raw_actions, theirs_.actions)
        torch.testing.assert_close(ours_.old_log_prob, theirs_.old_log_prob)
        torch.testing.assert_close(ours_.old_values, theirs_.old_values)
        torch.testing.assert_close(ours_.advantages, theirs_.advantages)
        torch.testing.assert_close(ours_.returns, theirs_.returns)


def test_whole_rollout_as_one_minibatch_and_flat_groups() -> None:
    buffer = StudentRolloutBuffer(2, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), n_envs=3)
    _filled(buffer, 2, 3)
    (batch,) = buffer.minibatches(None)
    assert isinstance(batch.obs, torch.Tensor)
    assert len(batch.obs) == 6
    flat = buffer.flat_group(None)
    assert flat.shape == (6, 2)
    # Environment-major: both steps of environment 0 first.
    steps = [dist.mode()[0, 0] for dist in buffer._student]
    assert torch.equal(buffer.flat_student().mode()[:2, 0], torch.stack(steps))


def test_an_incomplete_rollout_gives_no_minibatches() -> None:
    buffer = StudentRolloutBuffer(9, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), n_envs=3)
    with pytest.raises(RuntimeError, match="complete rollout"):
        next(buffer.minibatches(4))


def test_what_is_kept_shares_no_memory_with_the_environments() -> None:
    """A tensor on the CPU is the array that an environment may write its next observation to."""
    buffer = StudentRolloutBuffer(1, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), n_envs=3)
    obs = np.ones((3, 2), np.float32)
    student = DiagGaussian(torch.zeros(3, 1), torch.zeros(3, 1))
    buffer.add_step(torch.from_numpy(obs), torch.zeros(3, 1), np.zeros(3), np.ones(3), student)
    obs[:] = 5
    flat = buffer.flat_group(None)
    assert isinstance(flat, torch.Tensor) and torch.equal(flat, torch.ones(3, 2))


def test_minibatches_have_the_returns_that_were_computed_last() -> None:
    buffer = StudentRolloutBuffer(2, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), n_envs=3)
    _filled(buffer, 2, 3)
    (before,) = buffer.minibatches(None)
    buffer.rewards += 1.0
    buffer.compute_returns_and_advantage(torch.zeros(3), np.ones(3))
    (after,) = buffer.minibatches(None)
    assert after.returns.sum() > before.returns.sum()
    np.testing.assert_allclose(np.sort(after.returns), np.sort(buffer.returns.ravel()))
