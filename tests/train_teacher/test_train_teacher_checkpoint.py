"""Checkpoints of a teacher's training: what is restored is what was saved."""

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from Common.errors import UserError
from Enviroment.make import make_state_env
from Models.teacher.policy import Teacher
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.checkpoint import (
    Progress,
    find_best,
    find_newest,
    restore,
    save_best,
    save_checkpoint,
)
from Train_Teacher.settings.config import PPOTeacherConfig, SACTeacherConfig
from Train_Teacher.settings.policy_gradient import ReinforceTeacherConfig

SETTINGS = {
    "ppo": PPOTeacherConfig(num_envs=2, n_steps=50, batch_size=50, n_epochs=2),
    "sac": SACTeacherConfig(num_envs=2, learning_starts=50, batch_size=32, buffer_size=1000),
    "reinforce": ReinforceTeacherConfig(),
}


def progress(steps):
    evaluation = {"eval/return": -1 / 3}
    return Progress(steps, steps // 2, episodes=3, finished_episodes=5, evaluation=evaluation)


def make(algo, seed=1):
    env = normalise(make_state_env("Pusher", 2, 0), SETTINGS[algo])
    return make_agent(SETTINGS[algo], env, torch.device("cpu"), seed), env


def found_in(folder):
    found = find_newest(folder)
    assert found is not None
    return found


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
    agent, env = make(algo)
    save_checkpoint(tmp_path, agent.learn(200), progress(200))
    drawn = (torch.rand(3), np.random.rand(3), agent.action_space.sample())

    fresh, fresh_env = make(algo, seed=2)
    checkpoint, stored = found_in(tmp_path)
    restore(checkpoint, fresh, stored)
    redrawn = (torch.rand(3), np.random.rand(3), fresh.action_space.sample())

    for before, after in zip(drawn, redrawn, strict=True):
        np.testing.assert_array_equal(before, after)
    assert stored == progress(200)
    assert (fresh.num_timesteps, fresh._n_updates, fresh._episode_num) == (200, 100, 5)
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


def test_the_replay_buffer_lies_in_the_newest_alone_and_only_its_filled_rows(tmp_path):
    agent, _ = make("sac")
    agent.learn(60)
    for steps in (20, 40, 60):
        save_checkpoint(tmp_path, agent, progress(steps))
    save_best(tmp_path, "Pusher", agent, -1.0)
    replays = sorted(tmp_path.rglob("replay.safetensors"))
    assert [path.parent.name for path in replays] == ["step_000000000040", "step_000000000060"]
    # 60 env steps of a state of 23, the next one, 7 actions, reward, done and timeout, of 4 bytes.
    content = 60 * (23 + 23 + 7 + 3) * 4
    assert content < replays[0].stat().st_size < content + 2000


@pytest.mark.parametrize("algo", SETTINGS)
def test_the_best_teacher_acts_as_the_agent_did_then(algo, tmp_path):
    agent, env = make(algo)
    assert find_best(tmp_path) is None
    save_best(tmp_path, "Pusher", agent.learn(100), -50.0)
    agent.learn(100, reset_num_timesteps=False)
    save_best(tmp_path, "Pusher", agent, -40.0)
    steps = agent.num_timesteps
    obs = 12 * np.random.default_rng(0).normal(size=(5, 23)).astype(np.float32)
    expected = agent.predict(env.normalize_obs(obs), deterministic=True)[0]
    agent.learn(100, reset_num_timesteps=False)
    best = find_best(tmp_path)
    assert best is not None
    assert (best.steps, best.mean_return) == (steps, -40.0)
    actions = Teacher(best.description, best.tensors).predict(obs)[0]
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def test_a_damaged_best_teacher_is_named_and_passed_over(tmp_path, capsys):
    save_best(tmp_path, "Pusher", make("ppo")[0], -50.0)
    (path,) = tmp_path.rglob("teacher.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert find_best(tmp_path) is None
    assert "is damaged: teacher.safetensors" in capsys.readouterr().err


def test_the_format_of_older_versions_is_refused_in_one_sentence(tmp_path, capsys):
    old = tmp_path / "step_000000000400"
    old.mkdir()
    (old / "model.zip").write_bytes(b"of SB3")
    (old / "state.json").write_text('{"format": 2, "progress": {}, "files": {}}')
    with pytest.raises(UserError, match=r"older format: the version that wrote them.* can resume"):
        find_newest(tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_a_checkpoint_of_another_agent_does_not_fit(algo, tmp_path):
    save_checkpoint(tmp_path, make("sac" if algo == "ppo" else "ppo")[0], progress(1))
    with pytest.raises(UserError, match=r"does not fit this version|has no replay"):
        restore(found_in(tmp_path)[0], make(algo)[0], progress(1))
