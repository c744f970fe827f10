"""States, rewards and ends of the worlds against Gymnasium's own environments, step by step."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

import contextlib
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch

from Enviroment.tasks import get_task
from Enviroment.worlds.model import read_model
from Enviroment.worlds.rules import rules_of

pytest.importorskip("mujoco_warp")

from Enviroment.worlds.simulation import Simulation, state_of

N_WORLDS = 4


@pytest.mark.parametrize("name", ["Pusher", "Reacher", "Hopper", "HalfCheetah"])
def test_steps_equal_those_of_gymnasium_from_the_same_states(name, device):
    task = get_task(name)
    shared, rules = read_model(task, draws=False), rules_of(task)
    worlds = Simulation(shared, N_WORLDS, device)
    rng, n_ended = np.random.default_rng(0), 0
    with contextlib.ExitStack() as stack:
        envs = [gym.make(task.env_id) for _ in range(N_WORLDS)]
        for seed, env in enumerate(envs):
            stack.callback(env.close)
            env.reset(seed=seed)
        for _ in range(40 if name == "Hopper" else 15):
            _copy_states(envs, shared.model, worlds)  # so that differences do not add up
            actions = rng.uniform(-1, 1, (N_WORLDS, shared.model.nu)).astype(np.float32)
            before = worlds.moment.qpos.clone()
            # One rounding to float32 can change HalfCheetah's velocities by 5e-5 of themselves.
            slack = [
                5 * _effect_of_rounding(env, action) if name == "HalfCheetah" else 0.0
                for env, action in zip(envs, actions, strict=True)
            ]
            given = torch.from_numpy(actions).to(device)
            worlds.step(given)
            theirs: list[Any] = [
                env.step(action) for env, action in zip(envs, actions, strict=True)
            ]
            states, rewards, ended = (np.stack([step[i] for step in theirs]) for i in range(3))
            ours = rules.state(worlds.moment).cpu().numpy()
            # Fast joints (10 rad/s and more) have larger rounding errors in float32.
            error = np.abs((ours - states) / np.maximum(1, np.abs(states))).max(1)
            assert (error < np.maximum(1e-5, slack)).all()
            mine = rules.reward(worlds.moment, given, before).cpu().numpy()
            assert np.abs(mine - rewards).max() < 1e-5
            terminated = rules.terminated
            if terminated is None:
                assert not ended.any()
            else:
                fallen = terminated(worlds.moment)
                np.testing.assert_array_equal(fallen.cpu().numpy(), ended)
                n_ended += ended.sum()
    assert n_ended or name != "Hopper"  # some world has fallen by then


def _copy_states(envs, model, worlds):
    for world, env in enumerate(envs):
        theirs, data = env.unwrapped.data, mujoco.MjData(model)
        for name in ("qpos", "qvel"):  # rounded as the worlds round it
            getattr(theirs, name)[:] = getattr(theirs, name).astype(np.float32)
        data.qpos[:], data.qvel[:] = theirs.qpos, theirs.qvel
        data.qacc_warmstart[:] = theirs.qacc_warmstart
        mujoco.mj_forward(model, data)
        arrays = state_of(model, data).items()
        state = {k: torch.as_tensor(v, device=worlds.device)[None] for k, v in arrays}
        worlds.write(torch.tensor([world], device=worlds.device), state)


def _effect_of_rounding(env, action):
    """Return how far MuJoCo's own step, in float64, moves if substeps begin from rounded states."""
    model, data = env.unwrapped.model, env.unwrapped.data

    def stepped(rounding, rng):
        copy = mujoco.MjData(model)
        copy.qpos[:], copy.qvel[:], copy.ctrl[:] = data.qpos, data.qvel, action
        copy.qacc_warmstart[:] = data.qacc_warmstart
        for _ in range(env.unwrapped.frame_skip):
            scale = np.maximum(1, np.abs(copy.qpos))  # places of bodies are of order 1 m
            copy.qpos[:] += rounding * scale * rng.uniform(-1, 1, model.nq)
            copy.qvel[:] *= 1 + rounding * rng.uniform(-1, 1, model.nv)
            mujoco.mj_step(model, copy)
        return np.concatenate((copy.qpos, copy.qvel))

    exact = stepped(0.0, np.random.default_rng(0))
    rounded = (stepped(2.0**-24, np.random.default_rng(seed)) for seed in range(8))
    return max(np.abs((x - exact) / np.maximum(1, np.abs(exact))).max() for x in rounded)


def test_graphs_repeat_single_launches_to_the_bit():
    task = get_task("Pusher")
    shared = read_model(task, draws=True)
    graph, single = (Simulation(shared, 2, torch.device("cpu"), task.frame_size) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        actions = 2 * torch.rand(2, 7, generator=generator) - 1
        frames = []
        for worlds in (graph, single):
            if worlds is single:
                worlds._graphs.clear()  # the first call launches kernels one by one
            worlds.step(actions)
            frames.append(worlds.draw())
        assert all(torch.equal(graph.arrays[k], single.arrays[k]) for k in graph.arrays)
        assert torch.equal(*frames)
    assert graph._graphs["step"] is not None
    assert single._graphs["step"] is None
