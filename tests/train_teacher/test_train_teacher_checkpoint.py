"""Checkpoints of a teacher's training: what is restored is what was saved, damage is noticed."""

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from Enviroment.make import make_state_env
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.checkpoint import (
    Progress,
    find_best,
    find_newest,
    prune,
    restore,
    save_checkpoint,
)
from Train_Teacher.config import PPOTeacherConfig, SACTeacherConfig

SETTINGS = {
    "ppo": PPOTeacherConfig(num_envs=2, n_steps=50, batch_size=50, n_epochs=2),
    "sac": SACTeacherConfig(num_envs=2, learning_starts=50, batch_size=32, buffer_size=1000),
}


def progress(steps, best_return=None):
    return Progress(steps, updates=steps // 2, episodes=3, best_return=best_return, evaluation={})


def optimizer_state(agent):
    network = agent.actor if isinstance(agent, SAC) else agent.policy
    return network.optimizer.state_dict()


def check_sac_restored(agent: SAC, fresh: SAC):
    ours, theirs = fresh.log_ent_coef, agent.log_ent_coef
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)
    assert ours.requires_grad
    assert fresh.replay_buffer is not None
    assert agent.replay_buffer is not None
    np.testing.assert_array_equal(agent.replay_buffer.rewards, fresh.replay_buffer.rewards)
    assert fresh.replay_buffer.pos == agent.replay_buffer.pos == 100


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_a_restored_agent_is_the_saved_one(algo, tmp_path):
    settings = SETTINGS[algo]
    env = normalise(make_state_env("Pusher", 2, 0), settings)
    agent = make_agent(settings, env, torch.device("cpu"), 1).learn(200)
    path = save_checkpoint(tmp_path, "step_1", agent, progress(200), resumable=True)
    drawn = (torch.rand(3), np.random.rand(3), agent.action_space.sample())

    fresh_env = normalise(make_state_env("Pusher", 2, 0), settings)
    fresh = make_agent(settings, fresh_env, torch.device("cpu"), 2)
    restore(path, fresh, progress(200))
    redrawn = (torch.rand(3), np.random.rand(3), fresh.action_space.sample())

    for before, after in zip(drawn, redrawn, strict=True):
        np.testing.assert_array_equal(before, after)
    assert (fresh.num_timesteps, fresh._n_updates) == (200, 100)
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(tensor, fresh.policy.state_dict()[name]), name
    for ours, theirs in ((fresh_env.obs_rms, env.obs_rms), (fresh_env.ret_rms, env.ret_rms)):
        assert vars(ours).keys() == {"mean", "var", "count"}
        for name, value in vars(theirs).items():
            np.testing.assert_array_equal(vars(ours)[name], value)
    ours, theirs = optimizer_state(fresh), optimizer_state(agent)
    assert ours["state"].keys() == theirs["state"].keys()
    for index, state in theirs["state"].items():
        assert torch.equal(state["exp_avg_sq"], ours["state"][index]["exp_avg_sq"])
    if isinstance(agent, SAC) and isinstance(fresh, SAC):
        check_sac_restored(agent, fresh)
    fresh.learn(100, reset_num_timesteps=False)  # what was restored can be trained


def test_the_best_is_the_one_with_the_highest_return(tmp_path):
    """After a resume from an older checkpoint the best need not be the newest. 0 is a return."""
    settings = SETTINGS["ppo"]
    env = normalise(make_state_env("Pusher", 2, 0), settings)
    agent = make_agent(settings, env, torch.device("cpu"), 1)
    for steps, best_return in ((100, -50.0), (200, 0.0), (300, -40.0)):
        name = f"best_{steps:012d}"
        save_checkpoint(tmp_path, name, agent, progress(steps, best_return), resumable=False)
    for steps in (100, 200, 300):
        save_checkpoint(tmp_path, f"step_{steps:012d}", agent, progress(steps), resumable=True)
    prune(tmp_path)
    best, newest = find_best(tmp_path), find_newest(tmp_path)
    assert best is not None
    assert newest is not None
    assert best[1].steps == 200
    assert newest[1].steps == 300
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best_000000000200",
        "step_000000000200",
        "step_000000000300",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "state.json").write_text("{"),
        lambda path: (path / "state.json").unlink(),
        lambda path: (path / "normaliser.npz").unlink(),
        lambda path: (path / "generators.safetensors").write_bytes(b""),
        lambda path: (path / "generators.json").write_text("{}"),
    ],
)
def test_every_damaged_file_is_noticed(tmp_path, capsys, damage):
    settings = SETTINGS["ppo"]
    env = normalise(make_state_env("Pusher", 2, 0), settings)
    agent = make_agent(settings, env, torch.device("cpu"), 1)
    for name in ("step_1", "step_2"):
        save_checkpoint(tmp_path, name, agent, progress(1), resumable=True)
    damage(tmp_path / "step_2")
    found = find_newest(tmp_path)
    assert found is not None
    assert found[0].name == "step_1"
    assert "step_2 is damaged" in capsys.readouterr().err
