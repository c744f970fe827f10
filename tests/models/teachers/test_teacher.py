"""Teachers against the SB3 agents that they were made from."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Enviroment.make import make_state_env
from Models.distributions import SquashedGaussian
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Teacher, TeacherDescription, record_baseline, save_teacher
from tests.support.bundle_edits import change_description

PROVENANCE = {"task": "Pusher", "command": "none", "versions": {}, "baselines": {}}
NETWORK = {"net_arch": [32, 24], "activation_fn": torch.nn.ELU}


def train(algorithm, folder, **arguments):
    """An agent of 200 steps with the files that SB3 itself saves of it."""
    torch.manual_seed(0)
    env = VecNormalize(make_state_env("Pusher", 2, 0))
    agent = algorithm("MlpPolicy", env, policy_kwargs=NETWORK, seed=1, device="cpu", **arguments)
    agent.learn(200)
    agent.save(folder / "agent.zip")
    env.save(str(folder / "vecnormalize.pkl"))
    tensors, network = read_sb3_zip(folder / "agent.zip", folder / "vecnormalize.pkl")
    return agent, env, tensors, TeacherDescription(**network, **PROVENANCE)


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    return {
        "ppo": train(PPO, tmp_path_factory.mktemp("ppo"), n_steps=50, batch_size=50),
        "a2c": train(A2C, tmp_path_factory.mktemp("a2c"), n_steps=50),
        "sac": train(SAC, tmp_path_factory.mktemp("sac"), learning_starts=100, batch_size=32),
    }


@pytest.fixture(scope="module")
def states():
    # Far wider than what was seen, so that clipping and saturation are compared too.
    return np.random.default_rng(0).normal(0.0, 3.0, (256, 23)).astype(np.float32)


@pytest.fixture(params=["ppo", "a2c", "sac"])
def trained(request, agents):
    return agents[request.param]


def test_the_algorithm_is_recognised(agents):
    for algo, (_, _, _, description) in agents.items():
        assert description.algo == algo


def test_deterministic_actions_equal_sb3s(trained, states):
    agent, env, tensors, description = trained
    expected, _ = agent.predict(env.normalize_obs(states), deterministic=True)
    actions, hidden = Teacher(description, tensors).predict(states)
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-6)
    assert actions.dtype == np.float32
    assert hidden is None


def test_a_dictionary_or_a_single_state_gives_the_same_action(trained, states):
    _, _, tensors, description = trained
    teacher = Teacher(description, tensors)
    expected = teacher.predict(states)[0]
    groups = {"state": states, "frame": np.zeros((256, 4, 8, 8), np.uint8)}
    np.testing.assert_array_equal(teacher.predict(groups)[0], expected)
    single = teacher.predict(states[0])[0]
    assert single.shape == (7,)
    np.testing.assert_allclose(single, expected[0], rtol=0, atol=1e-6)


def test_sampled_actions_stay_within_the_bounds(trained, states):
    _, _, tensors, description = trained
    actions, _ = Teacher(description, tensors).predict(states, deterministic=False)
    assert np.abs(actions).max() <= 2.0


def test_gaussian_equals_sb3s_distribution(agents, states):
    agent, env, tensors, description = agents["ppo"]
    theirs = agent.policy.get_distribution(torch.as_tensor(env.normalize_obs(states)))
    ours = Teacher(description, tensors).distribution(torch.as_tensor(states))
    assert ours.family == "gaussian"
    raw = torch.randn(256, 7)
    torch.testing.assert_close(ours.mode(), theirs.mode(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(raw), rtol=1e-5, atol=1e-4)


def test_squashed_gaussian_equals_sb3s_distribution(agents, states):
    agent, env, tensors, description = agents["sac"]
    with torch.no_grad():
        mean, log_std, _ = agent.actor.get_action_dist_params(
            torch.as_tensor(env.normalize_obs(states))
        )
    ours = Teacher(description, tensors, min_std=1e-9).distribution(torch.as_tensor(states))
    assert isinstance(ours, SquashedGaussian)
    torch.testing.assert_close(ours.mean, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.log_std, log_std, rtol=1e-6, atol=1e-6)


def test_ppos_value_equals_sb3s_in_the_tasks_own_rewards(agents, states):
    agent, env, tensors, description = agents["ppo"]
    with torch.no_grad():
        normalised = agent.policy.predict_values(torch.as_tensor(env.normalize_obs(states)))
    expected = normalised.squeeze(-1) * float(np.sqrt(env.ret_rms.var + env.epsilon))
    values = Teacher(description, tensors).value(torch.as_tensor(states))
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


def test_sacs_value_is_the_smaller_q_of_its_mode(agents, states):
    agent, env, tensors, description = agents["sac"]
    observations = torch.as_tensor(env.normalize_obs(states))
    with torch.no_grad():
        both = torch.cat(agent.critic(observations, agent.actor(observations, True)), dim=1)
    expected = both.min(dim=1).values * float(np.sqrt(env.ret_rms.var + env.epsilon))
    values = Teacher(description, tensors).value(torch.as_tensor(states))
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_the_floor_lifts_only_smaller_standard_deviations(agents, states, algo):
    _, _, tensors, description = agents[algo]
    tensors = dict(tensors)
    # Action 0 gets exp(-20), action 1 exp(1), whatever the state.
    log_std = torch.tensor([-20.0, 1.0, *[0.0] * 5])
    if algo == "ppo":
        tensors["log_std"] = log_std
    else:
        tensors["log_std_head.weight"] = torch.zeros_like(tensors["log_std_head.weight"])
        tensors["log_std_head.bias"] = log_std
    dist = Teacher(description, tensors, 0.05).distribution(torch.as_tensor(states))
    std = dist.params()["log_std"].exp()
    assert std.shape == (256, 7)
    torch.testing.assert_close(std[:, 0], torch.full((256,), 0.05))
    torch.testing.assert_close(std[:, 1], torch.full((256,), float(np.e)))


def test_the_floor_must_be_positive(agents):
    _, _, tensors, description = agents["ppo"]
    with pytest.raises(UserError, match="min_std"):
        Teacher(description, tensors, min_std=0.0)


def test_training_leaves_every_bit_unchanged(trained, states):
    _, _, tensors, description = trained
    teacher = Teacher(description, tensors)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student = torch.nn.Linear(23, 7)
    everything = [*student.parameters(), *teacher.parameters()]
    optimizer = torch.optim.AdamW(everything, lr=0.1, weight_decay=0.5)
    for _ in range(5):
        teacher.train()
        inputs = torch.as_tensor(states).requires_grad_()
        dist, value = teacher.distribution(inputs), teacher.value(inputs)
        assert value is not None
        loss = (student(inputs) - dist.mode()).square().mean() + value.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not teacher.training
    assert not dist.mode().requires_grad
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_loading_draws_nothing_from_the_global_generator(agents):
    _, _, tensors, description = agents["sac"]
    state = torch.get_rng_state()
    Teacher(description, tensors)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_normaliser_for_students_is_vecnormalizes(agents):
    _, env, tensors, description = agents["ppo"]
    mean, std = Teacher(description, tensors).normaliser()
    np.testing.assert_allclose(mean, env.obs_rms.mean, rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(env.obs_rms.var + 1e-8), rtol=1e-6)


def test_discrete_actions(tmp_path):
    env = make_vec_env("CartPole-v1", 2)
    agent = PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, device="cpu").learn(64)
    agent.save(tmp_path / "agent.zip")
    tensors, network = read_sb3_zip(tmp_path / "agent.zip", None)
    provenance = {**PROVENANCE, "task": "CartPole"}
    teacher = Teacher(TeacherDescription(**network, **provenance), tensors)
    states = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    expected, _ = agent.predict(states, deterministic=True)
    np.testing.assert_array_equal(teacher.predict(states)[0], expected)
    ours = teacher.distribution(torch.as_tensor(states))
    theirs = agent.policy.get_distribution(torch.as_tensor(states))
    raw = torch.as_tensor(expected)
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(raw))
    teacher.check_fits("CartPole", env.observation_space, env.action_space)


# -- bundles -----------------------------------------------------------------------------------


@pytest.fixture
def bundle(agents, tmp_path):
    _, _, tensors, description = agents["sac"]
    baselines = {"random": {"validation": [-1.0, -3.0], "evaluation": [-2.0, -2.0]}}
    description = dataclasses.replace(description, baselines=baselines)
    save_teacher(tmp_path / "teacher", tensors, description, {"note": "for people"})
    return tmp_path / "teacher"


def test_a_saved_teacher_is_the_same(agents, bundle, states):
    _, _, tensors, description = agents["sac"]
    loaded = Teacher.load(bundle)
    expected = Teacher(description, tensors).predict(states)[0]
    np.testing.assert_array_equal(loaded.predict(states)[0], expected)
    data = json.loads((bundle / "teacher.json").read_text())
    assert loaded.description.sha256 == data["sha256"]
    assert data["note"] == "for people"
    # Hand arithmetic: mean (-1 - 3) / 2, deviation 1.
    assert data["summary"]["random"]["validation"] == {"mean": -2.0, "std": 1.0, "episodes": 2}


def test_a_baseline_is_added_and_the_weights_stay(bundle):
    before = (bundle / "teacher.safetensors").read_bytes()
    record_baseline(bundle, "blind", {"validation": [1.0], "evaluation": [2.0]})
    assert (bundle / "teacher.safetensors").read_bytes() == before
    baselines = Teacher.load(bundle).description.baselines
    assert baselines["blind"] == {"validation": [1.0], "evaluation": [2.0]}
    assert baselines["random"]["validation"] == [-1.0, -3.0]
    data = json.loads((bundle / "teacher.json").read_text())
    assert data["note"] == "for people"
    assert data["summary"]["blind"]["evaluation"]["mean"] == 2.0


def test_a_bundle_from_before_the_newer_fields_loads(bundle, states):
    expected = Teacher.load(bundle).predict(states)[0]
    path = bundle / "teacher.json"
    names = [field.name for field in dataclasses.fields(TeacherDescription)]

    def forget(description):
        for name in names[names.index("sha256") + 1 :]:
            del description[name]

    change_description(path, forget)
    np.testing.assert_array_equal(Teacher.load(bundle).predict(states)[0], expected)


def test_noise_on_every_parameter_and_nothing_else(bundle, states):
    teacher = Teacher.load(bundle)
    record_baseline(bundle, "teacher", {"validation": [5.0], "evaluation": [6.0]})
    teacher = Teacher.load(bundle)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    imperfect = corrupt(teacher, 0.05, seed=3)
    noise = []
    for name, tensor in imperfect.state_dict().items():
        if name.startswith("state_normaliser."):
            assert torch.equal(tensor, before[name])
        else:
            noise.append((tensor - before[name]).flatten())
            assert noise[-1].abs().min() > 0, name
        assert torch.equal(teacher.state_dict()[name], before[name])
    noise = torch.cat(noise)
    assert len(noise) == sum(p.numel() for p in teacher.parameters())
    # Some 5000 of them: the standard error of their mean is 0.0007, of their deviation 0.0005.
    assert noise.mean().item() == pytest.approx(0.0, abs=0.003)
    assert noise.std().item() == pytest.approx(0.05, abs=0.003)
    assert (imperfect.description.corruption_sigma, imperfect.description.corruption_seed) == (
        0.05,
        3,
    )
    # What was measured is the other teacher's.
    assert imperfect.description.baselines["uncorrupted"] == {
        "validation": [5.0],
        "evaluation": [6.0],
    }
    assert "teacher" not in imperfect.description.baselines
    same, other = corrupt(teacher, 0.05, seed=3), corrupt(teacher, 0.05, seed=4)
    assert torch.equal(same.head.weight, imperfect.head.weight)
    assert not torch.equal(other.head.weight, imperfect.head.weight)


def test_corruption_is_in_the_bundle(bundle, tmp_path, states):
    imperfect = corrupt(Teacher.load(bundle), 0.05, seed=3)
    save_teacher(tmp_path / "bad", imperfect.state_dict(), imperfect.description, {})
    loaded = Teacher.load(tmp_path / "bad")
    assert (loaded.description.corruption_sigma, loaded.description.corruption_seed) == (0.05, 3)
    np.testing.assert_array_equal(loaded.predict(states)[0], imperfect.predict(states)[0])
    with pytest.raises(UserError, match="corrupted already"):
        corrupt(loaded, 0.05, seed=3)


@pytest.mark.parametrize("sigma", [0.0, -0.1, float("nan"), float("inf")])
def test_noise_of_no_size_is_refused(bundle, sigma):
    with pytest.raises(UserError, match="must be above 0"):
        corrupt(Teacher.load(bundle), sigma, seed=0)


def edit(path, **changes):
    def apply(description):
        description.update(changes)
        for name in [name for name, value in changes.items() if value == "drop"]:
            del description[name]

    change_description(path, apply)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": "drop"}, "lacks 'gamma'"),
        ({"family": "cauchy"}, "'cauchy'"),
        ({"activation": "__import__"}, "'__import__'"),
        ({"action_low": [0.0]}, "bounds"),
        ({"state_dim": 22}, "expected torch"),
        ({"state_dim": "23"}, "not a whole number"),
        ({"actor_layers": [2**16, 2**16]}, "expected torch"),
        ({"actor_layers": [8] * 10**6}, "1000000 layers"),
        ({"n_critics": 10**6}, "too many"),
        ({"action_low": [3.0] * 7}, "above the high"),
        ({"n_critics": 3}, "lack"),
        ({"gamma": float("nan")}, "not finite"),
        ({"reward_scale": "1"}, "not a valid teacher"),
        ({"action_low": [-float("inf")] * 7}, "not finite"),
        ({"choices": [3, 4]}, "choices"),
        ({"temperature": 0.0}, "temperature"),
        ({"action_std": 0.1}, "action_std"),
        ({"n_quantiles": 0}, "sizes"),
        ({"dropped_quantiles": 2}, "leave none"),
        ({"value_kind": "q"}, "Q of every action"),
        ({"action_shape": [2, 3]}, "7 numbers"),
        ({"observation": [{"name": "", "shape": [4, 4, 4], "cnn_features": 8}]}, "too small"),
        ({"observation": [{"name": "", "shape": [23], "cnn_features": 8}]}, "not an image"),
        ({"observation": [{"name": "", "shape": [-1]}]}, "above 0"),
        ({"observation": [{"name": "", "size": [23]}]}, "not a valid teacher"),
        ({"observation": 7}, "not a valid teacher"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(bundle, changes, message):
    edit(bundle / "teacher.json", **changes)
    with pytest.raises(UserError, match=message) as error:
        Teacher.load(bundle)
    assert str(bundle) in str(error.value)


def test_weights_that_are_not_finite_are_refused(agents):
    _, _, tensors, description = agents["ppo"]
    broken = {**tensors, "log_std": torch.full((7,), float("nan"))}
    with pytest.raises(UserError, match="log_std holds NaN"):
        Teacher(description, broken)


def test_check_fits_prints_both_sides(agents):
    _, env, tensors, description = agents["ppo"]
    teacher = Teacher(description, tensors)
    teacher.check_fits("Pusher", env.observation_space, env.action_space)
    with pytest.raises(UserError, match=r"teacher of Pusher; the task is Reacher"):
        teacher.check_fits("Reacher", env.observation_space, env.action_space)
    wide = spaces.Box(-np.inf, np.inf, (24,), np.float32)
    with pytest.raises(UserError, match=r"(?s)\(23,\).*\(24,\)"):
        teacher.check_fits("Pusher", wide, env.action_space)
    weak = spaces.Box(-1.0, 1.0, (7,), np.float32)
    with pytest.raises(UserError, match=r"(?s)-2\.0.*-1\.0"):
        teacher.check_fits("Pusher", env.observation_space, weak)
