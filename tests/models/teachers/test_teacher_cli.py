"""`python -m Models.teacher`: bundles from files, from the hub, and their contents."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Common.places import ROOT
from Enviroment.make import make_env
from Models.teacher.__main__ import main
from Models.teacher.hub import download_agent
from Models.teacher.policy import Teacher
from tests.support.refusal import refusal


@pytest.fixture
def saved(tmp_path):
    """A PPO's zip and VecNormalize file, and its actions on random states."""
    env = VecNormalize(make_vec_env("Pusher-v5", 2))
    agent = PPO("MlpPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu").learn(32)
    agent.save(tmp_path / "agent.zip")
    env.save(str(tmp_path / "vecnormalize.pkl"))
    states = np.random.default_rng(0).normal(size=(32, 23)).astype(np.float32)
    return tmp_path, states, agent.predict(env.normalize_obs(states), deterministic=True)[0]


def convert(folder, *arguments, task="Pusher"):
    flags = ["--task", task, "--output", str(folder / "teacher"), *map(str, arguments)]
    main(["convert", str(folder / "agent.zip"), *flags])


def test_convert_writes_a_bundle_and_inspect_prints_it(saved, capsys):
    folder, states, expected = saved
    convert(folder, "--vecnormalize", folder / "vecnormalize.pkl")
    teacher = Teacher.load(folder / "teacher")
    np.testing.assert_allclose(teacher.predict(states)[0], expected, rtol=0, atol=1e-6)
    data = json.loads((folder / "teacher" / "teacher.json").read_text())
    assert data["baselines"] == {}
    assert data["command"].startswith("python -m Models.teacher convert ")
    digest = sha256((folder / "agent.zip").read_bytes()).hexdigest()
    assert data["source"]["zip"] == {"file": "agent.zip", "sha256": digest}
    capsys.readouterr()
    main(["inspect", str(folder / "teacher")])
    printed = capsys.readouterr().out
    for text in ("Pusher", "ppo", "gaussian", "64 -> 64 -> 7 (Tanh)", data["sha256"]):
        assert text in printed


def test_an_agent_is_named_as_in_sb3_with_or_without_zip(saved):
    folder = saved[0]
    flags = ["--task", "Pusher", "--output", str(folder / "named")]
    main(["convert", str(folder / "agent"), *flags])
    convert(folder)
    own = Teacher.load(folder / "teacher").description.identity
    assert Teacher.load(folder / "named").description.identity == own


def test_activations_that_are_supported_are_listed(tmp_path, capsys):
    kwargs = {"activation_fn": torch.nn.Identity}
    PPO("MlpPolicy", "Pendulum-v1", policy_kwargs=kwargs, device="cpu").save(tmp_path / "agent")
    message = refusal(capsys, lambda: convert(tmp_path, task="Pendulum-v1"))
    assert "'Identity' is not one of ELU, ReLU" in message


def test_an_agent_of_a_games_frames_is_converted(tmp_path):
    pytest.importorskip("envpool", reason="needs the extra 'suites'")
    env = make_env("Miner", 1, 0)
    kwargs = {"net_arch": [], "features_extractor_kwargs": {"cnn_output_dim": 16}}
    agent = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, policy_kwargs=kwargs, seed=1)
    agent.save(tmp_path / "agent.zip")
    obs = {"frame": env.reset()["frame"]}
    env.close()
    convert(tmp_path, task="Miner")
    teacher = Teacher.load(tmp_path / "teacher")
    np.testing.assert_array_equal(
        teacher.predict(obs)[0], agent.predict(obs, deterministic=True)[0]
    )


def test_settings_of_a_deterministic_agent_and_noise_are_recorded(tmp_path, capsys):
    env = make_vec_env("Pusher-v5", 1)
    TD3("MlpPolicy", env, buffer_size=10, device="cpu").save(tmp_path / "agent.zip")
    convert(tmp_path, "--action_std", 0.2, "--corrupt_teacher", 0.05, "--corrupt_seed", 7)
    description = Teacher.load(tmp_path / "teacher").description
    assert (description.action_std, description.corruption_sigma) == (0.2, 0.05)
    assert description.corruption_seed == 7
    printed = capsys.readouterr().out
    assert "0.2 half widths" in printed
    assert "N(0, 0.05^2)" in printed


# -- tasks that are no games of this project, or not here ----------------------------------------


class Groups(gym.Env):
    """Observations in a dictionary, and several discrete actions."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = spaces.Dict(
        {"goal": spaces.Box(-1, 1, (2,)), "img": spaces.Box(0, 255, (36, 36, 3), np.uint8)}
    )
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


class Broken(Groups):
    def __init__(self):
        raise ZeroDivisionError("no such table")


@pytest.fixture
def registered():
    """`Ours-v0` in groups; `Broken-v0`, which cannot be made; `Moved-v1` and its successors."""
    before = dict(gym.registry)
    ours: Any = Groups
    broken: Any = Broken
    gym.register("Ours-v0", entry_point=ours, max_episode_steps=5)
    for name in ("Broken-v0", "Moved-v1", "Moved-v4"):
        gym.register(name, entry_point=broken)
    gym.register("Moved-v2", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    gym.register("Moved-v3", entry_point=ours)
    yield
    for name in gym.registry.keys() - before.keys():
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("env_id", "policy"), [("CartPole-v1", "MlpPolicy"), ("Ours-v0", "MultiInputPolicy")]
)
def test_agents_of_other_spaces_are_converted(registered, env_id, policy, tmp_path, capsys):
    env = make_vec_env(env_id, 1)
    agent = A2C(policy, env, n_steps=8, seed=1, device="cpu").learn(8)
    agent.save(tmp_path / "agent.zip")
    convert(tmp_path, task=env_id)
    assert "Note: without --vecnormalize" in capsys.readouterr().err
    teacher, obs = Teacher.load(tmp_path / "teacher"), cast(Any, env.reset())
    expected = agent.predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(teacher.predict(obs)[0], expected)
    assert teacher.description.action_space == env.action_space


def test_an_environment_that_is_not_installed_is_not_needed(saved, capsys):
    folder, states, _ = saved
    convert(folder, "--vecnormalize", folder / "vecnormalize.pkl", task="PandaPush-v3")
    note = capsys.readouterr().err
    assert "no environment 'PandaPush-v3'" in note
    assert "has the spaces of the zip" in note
    assert "--vecnormalize" not in note
    teacher = Teacher.load(folder / "teacher")
    assert (teacher.description.task, teacher.predict(states)[0].shape) == ("PandaPush-v3", (32, 7))


def test_what_an_environment_says_is_told_as_its_own_with_versions(registered, saved, capsys):
    convert(saved[0], task="Broken-v0")
    note = capsys.readouterr().err
    assert f"Broken-v0 cannot be made. Its error (with gymnasium {gym.__version__}" in note
    assert "ZeroDivisionError: no such table" in note
    assert "has the same spaces" not in note


def test_a_newer_version_of_the_same_spaces_is_offered(registered, tmp_path, capsys):
    """Of Moved, v4 cannot be made, v3 has other spaces, and v2 is what the agent was trained on."""
    SAC("MlpPolicy", make_vec_env("Pendulum-v1", 1), buffer_size=9).save(tmp_path / "agent.zip")
    convert(tmp_path, task="Moved-v1")
    assert "Moved-v2 has the same spaces" in capsys.readouterr().err


def test_a_newer_version_that_cannot_be_made_is_named(registered, saved, capsys):
    """No version of Moved that can be made has the agent's spaces."""
    convert(saved[0], task="Moved-v1")
    note = capsys.readouterr().err
    assert "Moved-v4 is newer, but cannot be made here to compare its spaces" in note
    assert "give --task Moved-v4" in note


def test_of_a_removed_version_the_newest_is_named_without_warnings(saved, tmp_path):
    (tmp_path / "agent.zip").write_bytes((saved[0] / "agent.zip").read_bytes())
    command = [sys.executable, "-m", "Models.teacher", "convert", "agent.zip"]
    command += ["--task", "LunarLander-v2", "--output", "teacher"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    note = ended.stderr.decode()
    assert ended.returncode == 0, note
    assert "Please use `LunarLander-v3`" in note
    assert "Warning" not in note


def test_of_a_task_of_the_registry_its_own_name_is_offered(tmp_path, capsys):
    PPO("MlpPolicy", make_vec_env("Hopper-v5", 1), device="cpu").save(tmp_path / "agent.zip")
    convert(tmp_path, task="Hopper-v3")
    note = capsys.readouterr().err
    assert "Hopper-v3 cannot be made. Its error (with gymnasium" in note  # which differs by version
    assert "Hopper-v5 has the same spaces. For a teacher of it, give --task Hopper" in note


def test_statistics_that_may_have_been_forgotten_are_named(saved, capsys):
    convert(saved[0])
    assert "vecnormalize.pkl in the same folder may be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "task", "message"),
    [
        ((), "CartPole-v1", r"does not fit"),
        ((), "Reacher", r"does not fit"),
        ((), "Pushr", "Did you mean Pusher"),
        (("--vecnormalize", "none.pkl"), "Pusher", "none.pkl"),
        (("--trust", "yes"), "Pusher", "not a SHA-256"),
        (("--corrupt_teacher", "-1"), "Pusher", "above 0"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_nothing_written(
    saved, capsys, arguments, task, message
):
    folder, _, _ = saved
    assert message in refusal(capsys, lambda: convert(folder, *arguments, task=task))
    assert not (folder / "teacher").exists()


def test_a_bundle_is_not_overwritten(saved, capsys):
    folder, _, _ = saved
    convert(folder)
    assert "holds a teacher already" in refusal(capsys, lambda: convert(folder))


def test_a_damaged_bundle_is_not_printed(saved, capsys):
    folder, _, _ = saved
    convert(folder)
    weights = folder / "teacher" / "teacher.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "SHA-256" in refusal(capsys, lambda: main(["inspect", str(folder / "teacher")]))


# -- the hub, without a network ----------------------------------------------------------------


class Hub(SimpleNamespace):
    """huggingface_hub as far as it is used, over a folder."""

    def __init__(self, folder, files):
        super().__init__(folder=folder, files=files, asked=[])

    def list_repo_files(self, repository, revision=None):
        self.asked.append((repository, revision))
        return [".gitattributes", "README.md", *self.files]

    def hf_hub_download(self, repository, name, revision=None):
        return str(self.folder / self.files[name])


def test_a_teacher_from_the_hub(saved, monkeypatch):
    folder, states, expected = saved
    files = {"ppo-Pusher-v5.zip": "agent.zip", "vec_normalize.pkl": "vecnormalize.pkl"}
    hub = Hub(folder, files)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    name = "hf://someone/ppo-Pusher-v5@main"
    main(["convert", name, "--task", "Pusher", "--output", str(folder / "teacher")])
    assert hub.asked == [("someone/ppo-Pusher-v5", "main")]
    teacher = Teacher.load(folder / "teacher")
    np.testing.assert_allclose(teacher.predict(states)[0], expected, rtol=0, atol=1e-6)
    data = json.loads((folder / "teacher" / "teacher.json").read_text())
    assert data["source"]["name"] == name


def test_a_repository_of_several_agents_is_refused(tmp_path, monkeypatch):
    hub = Hub(tmp_path, {"a.zip": "", "b.zip": ""})
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(UserError, match=r"2 zips.*a\.zip, b\.zip"):
        download_agent("hf://someone/agents")


def test_without_the_library_or_the_network_it_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        download_agent("hf://someone/agent")

    def offline(*_, **__):
        raise ConnectionError("no route to host.\n\nA second line with a request id")

    hub = SimpleNamespace(list_repo_files=offline)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    said = r"cannot be downloaded: ConnectionError: no route to host\. Check the name"
    with pytest.raises(UserError, match=said):
        download_agent("hf://someone/agent")


@pytest.mark.parametrize("name", ["hf://agent", "hf://a/b/c", "hf://a/b@", "hf://../.."])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="not a name on the hub"):
        download_agent(name)
