"""Every kind of SB3 agent as a teacher, against SB3's own actions, distributions and values."""

import copy
import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from Common.errors import UserError
from Models.networks.impala_extractor import ImpalaExtractor
from Models.sb3.softening import Softening
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.policy import Teacher, TeacherDescription, save_teacher

VECTOR = spaces.Box(-5, 5, (3,))
MATRIX = spaces.Box(-5, 5, (2, 3))
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
FLOAT_IMAGE = spaces.Box(0, 1, (1, 36, 36), np.float32)
GROUPS = spaces.Dict(
    [  # not in alphabetic order: the features' order is the space's
        ("v", VECTOR),
        ("img", IMAGE),
        ("d", spaces.Discrete(3)),
        ("md", spaces.MultiDiscrete([2, 3])),
        ("mb", spaces.MultiBinary(2)),
        ("m", MATRIX),
    ]
)
BOX = spaces.Box(np.array([-2, -1], np.float32), np.array([2, 3], np.float32))
ON: dict[str, Any] = {"n_steps": 16}
PPO_ON: dict[str, Any] = {**ON, "batch_size": 16, "n_epochs": 2}
OFF = {"buffer_size": 100, "learning_starts": 8, "batch_size": 8}
SDE = {"use_sde": True}
SEARCH = {"n_delta": 2, "n_eval_episodes": 1}
TEMPERATURE, ACTION_STD = 0.5, 0.3


class RandomEnv(gym.Env):
    """Random observations and rewards: agents learn nothing, but their weights move."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        reward = float(np.random.normal())
        return self.observation_space.sample(), reward, False, self.t >= 8, {}


@dataclasses.dataclass(frozen=True)
class Case:
    algorithm: type
    observations: spaces.Space
    actions: spaces.Space
    arguments: dict
    policy: str = "MlpPolicy"
    normalise: dict | None = None  # VecNormalize's arguments
    network: dict | None = None  # policy_kwargs


KEYS = {"norm_obs_keys": ["m", "v"]}
SEPARATE = {"share_features_extractor": False}
IMPALA = {"features_extractor_class": ImpalaExtractor, "net_arch": []}
SMALL = {"features_extractor_kwargs": {"filters": [4, 6], "features_dim": 10}}
FRAMES = spaces.Dict({"frame": spaces.Box(0, 255, (4, 21, 30), np.uint8)})
CASES = {
    "ppo": Case(PPO, VECTOR, BOX, PPO_ON, normalise={}),
    "ppo_matrix": Case(PPO, MATRIX, spaces.Box(-1, 1, (2, 2)), PPO_ON, normalise={}),
    "ppo_categorical": Case(PPO, VECTOR, spaces.Discrete(3), PPO_ON),
    "ppo_multi_categorical": Case(PPO, VECTOR, spaces.MultiDiscrete([2, 4]), PPO_ON, normalise={}),
    "ppo_bernoulli": Case(PPO, VECTOR, spaces.MultiBinary(3), PPO_ON),
    "a2c_gaussian": Case(A2C, VECTOR, BOX, ON),
    "a2c_multi_categorical": Case(A2C, spaces.Discrete(5), spaces.MultiDiscrete([2, 4]), ON),
    "a2c_bernoulli": Case(A2C, spaces.MultiBinary(4), spaces.MultiBinary(3), ON),
    "a2c_cnn": Case(A2C, IMAGE, spaces.Discrete(3), ON, "CnnPolicy"),
    "trpo": Case(TRPO, spaces.MultiDiscrete([2, 3]), BOX, {**ON, "batch_size": 16}),
    "ppo_image_by_mlp": Case(PPO, IMAGE, BOX, PPO_ON),
    "ppo_cnn": Case(PPO, IMAGE, BOX, PPO_ON, "CnnPolicy", {"norm_obs": False}),
    "ppo_cnn_separate": Case(PPO, IMAGE, BOX, PPO_ON, "CnnPolicy", None, SEPARATE),
    "ppo_float_image": Case(
        PPO, FLOAT_IMAGE, BOX, PPO_ON, "CnnPolicy", {}, {"normalize_images": False}
    ),
    "ppo_groups": Case(PPO, GROUPS, BOX, PPO_ON, "MultiInputPolicy", KEYS, SEPARATE),
    "ppo_impala": Case(
        PPO, IMAGE, spaces.Discrete(3), PPO_ON, "CnnPolicy", {"norm_obs": False}, IMPALA | SMALL
    ),
    "ppo_impala_frames": Case(
        *(PPO, FRAMES, spaces.Discrete(15), PPO_ON, "MultiInputPolicy", {"norm_obs": False}),
        network=IMPALA | SEPARATE,
    ),
    "dqn_impala": Case(DQN, FRAMES, spaces.Discrete(4), OFF, "MultiInputPolicy", None, IMPALA),
    "sac": Case(SAC, VECTOR, BOX, OFF, normalise={}),
    "sac_cnn": Case(SAC, IMAGE, BOX, OFF, "CnnPolicy"),
    "sac_groups": Case(SAC, GROUPS, BOX, OFF, "MultiInputPolicy", KEYS),
    "tqc": Case(TQC, VECTOR, BOX, OFF, normalise={}),
    "tqc_drop": Case(
        TQC,
        VECTOR,
        BOX,
        {**OFF, "top_quantiles_to_drop_per_net": 3},
        network={"n_quantiles": 7, "n_critics": 3, "net_arch": [8]},
    ),
    "crossq": Case(CrossQ, VECTOR, BOX, OFF, normalise={}),
    "crossq_eps": Case(CrossQ, VECTOR, BOX, OFF, network={"batch_norm_eps": 0.1, "net_arch": []}),
    "crossq_plain": Case(CrossQ, VECTOR, BOX, OFF, network={"batch_norm": False}),
    "td3": Case(TD3, VECTOR, BOX, OFF, normalise={}),
    "td3_groups": Case(TD3, GROUPS, BOX, OFF, "MultiInputPolicy"),
    "ddpg": Case(DDPG, VECTOR, BOX, OFF),
    "dqn": Case(DQN, VECTOR, spaces.Discrete(4), OFF, normalise={}),
    "dqn_cnn": Case(DQN, IMAGE, spaces.Discrete(4), OFF, "CnnPolicy"),
    "qrdqn": Case(QRDQN, VECTOR, spaces.Discrete(4), OFF, network={"n_quantiles": 11}),
    "a2c_sde": Case(A2C, VECTOR, BOX, ON | SDE, normalise={}),
    "ppo_sde_squashed": Case(
        *(PPO, VECTOR, BOX, PPO_ON | SDE),
        network={"squash_output": True, "full_std": False, "use_expln": True, "log_std_init": 0.5},
    ),
    "sac_sde": Case(SAC, VECTOR, BOX, OFF | SDE, network={"clip_mean": 0.05}),
    "tqc_sde": Case(
        *(TQC, GROUPS, BOX, OFF | SDE, "MultiInputPolicy", KEYS),
        network={"use_expln": True, "clip_mean": 0.0, "log_std_init": 0.1},
    ),
    "ars": Case(ARS, VECTOR, BOX, SEARCH, normalise={}),
    "ars_linear": Case(ARS, VECTOR, BOX, SEARCH, "LinearPolicy"),
    "ars_clipped": Case(ARS, VECTOR, BOX, SEARCH, network={"squash_output": False}),
    "ars_scores": Case(ARS, VECTOR, spaces.Discrete(3), SEARCH, "LinearPolicy"),
    "ppo_raw_pixels": Case(PPO, IMAGE, BOX, PPO_ON, network={"normalize_images": False}),
    "ppo_normalised_pixels": Case(
        *(PPO, IMAGE, BOX, PPO_ON, "CnnPolicy", {}), network={"normalize_images": False}
    ),
    "qrdqn_groups": Case(QRDQN, GROUPS, spaces.Discrete(4), OFF, "MultiInputPolicy", KEYS),
}


@pytest.fixture(scope="module", params=CASES)
def trained(request, tmp_path_factory):
    case, folder = CASES[request.param], tmp_path_factory.mktemp(request.param)
    np.random.seed(0)
    # VecNormalize may change the space that it is given.
    observations = copy.deepcopy(case.observations)
    plain = DummyVecEnv([lambda: RandomEnv(observations, case.actions)])
    env = plain if case.normalise is None else VecNormalize(plain, **case.normalise)
    network = {} if case.policy != "MlpPolicy" else {"net_arch": [12, 8]}
    network |= case.network or {}
    agent = case.algorithm(
        case.policy, env, seed=1, device="cpu", policy_kwargs=network, **case.arguments
    )
    agent.learn(14 if "buffer_size" in case.arguments else 32)
    if isinstance(env, VecNormalize):
        env.training = False
    # So that biases, which start at 0, and statistics that are seldom updated count too.
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    agent.save(folder / "agent.zip")
    statistics = None
    if isinstance(env, VecNormalize):
        statistics = folder / "vecnormalize.pkl"
        env.save(str(statistics))
    softening = Softening(ACTION_STD, TEMPERATURE)
    tensors, fields = read_sb3_zip(folder / "agent.zip", statistics, softening=softening)
    description = TeacherDescription(**fields, task="", command="none", versions={}, baselines={})
    save_teacher(folder / "teacher", tensors, description, {})
    teacher = Teacher.load(folder / "teacher", min_std=1e-9)
    return request.param, agent, teacher, _observations(case.observations)


def _observations(space, n=24):
    space = copy.deepcopy(space)
    space.seed(3)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([sample[name] for sample in samples]) for name in space.spaces}
    return np.stack(samples)


def _seen(agent, observations):
    """What the agent's policy sees, as SB3 gives it."""
    env = agent.get_vec_normalize_env()
    return observations if env is None else env.normalize_obs(observations)


def _policy_tensors(agent, observations):
    return agent.policy.obs_to_tensor(_seen(agent, observations))[0]


def _tensors(observations):
    if isinstance(observations, dict):
        return {name: torch.as_tensor(array) for name, array in observations.items()}
    return torch.as_tensor(observations)


def test_actions_equal_sb3s(trained):
    _, agent, teacher, observations = trained
    expected, _ = agent.predict(_seen(agent, observations), deterministic=True)
    actions, _ = teacher.predict(observations)
    assert actions.shape == expected.shape
    np.testing.assert_allclose(actions, expected, rtol=0, atol=2e-5)


def test_one_observation_gives_the_same_action(trained):
    _, _, teacher, observations = trained
    expected = teacher.predict(observations)[0][0]
    one = (
        {name: array[0] for name, array in observations.items()}
        if isinstance(observations, dict)
        else observations[0]
    )
    np.testing.assert_allclose(teacher.predict(one)[0], expected, rtol=0, atol=1e-5)


def test_distributions_equal_sb3s(trained):
    name, agent, teacher, observations = trained
    ours, inputs = (
        teacher.distribution(_tensors(observations)),
        _policy_tensors(agent, observations),
    )
    with torch.no_grad():
        if name.startswith(("ppo", "a2c", "trpo")):
            theirs = agent.policy.get_distribution(inputs)
            if name == "ppo_sde_squashed":  # SB3's adds 1e-6 to the slope of its tanh
                torch.testing.assert_close(ours.mean, theirs.distribution.mean)
                torch.testing.assert_close(ours.log_std.exp(), theirs.distribution.stddev)
                return
            raw = theirs.sample()
            torch.testing.assert_close(
                ours.log_prob(raw.flatten(1) if raw.is_floating_point() else raw),
                theirs.log_prob(raw),
                rtol=1e-4,
                atol=1e-4,
            )
            torch.testing.assert_close(ours.entropy(), theirs.entropy(), rtol=1e-4, atol=1e-4)
        elif name.startswith(("sac", "tqc", "crossq")):
            mean, log_std, noise = agent.actor.get_action_dist_params(inputs)
            if noise:  # gSDE
                theirs = agent.actor.action_dist.proba_distribution(mean, log_std, **noise)
                log_std = theirs.distribution.stddev.log()
            torch.testing.assert_close(ours.mean, mean, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(ours.log_std, log_std, rtol=1e-4, atol=1e-4)
        elif name == "ars_scores":
            expected = (agent.policy.action_net(inputs) / TEMPERATURE).softmax(-1)
            torch.testing.assert_close(ours.logits.softmax(-1), expected, rtol=1e-4, atol=1e-5)
        elif name.startswith(("td3", "ddpg", "ars")):
            expected, _ = agent.predict(_seen(agent, observations))
            torch.testing.assert_close(ours.mean, torch.as_tensor(expected), rtol=0, atol=2e-5)
            # Both bounds are 4 apart: half widths 2.
            torch.testing.assert_close(ours.log_std.exp(), torch.full((24, 2), ACTION_STD * 2))
        else:
            expected = (_q_values(agent, inputs) / TEMPERATURE).softmax(-1)
            torch.testing.assert_close(ours.logits.softmax(-1), expected, rtol=1e-4, atol=1e-5)


def test_values_equal_sb3s_in_the_tasks_own_rewards(trained):
    name, agent, teacher, observations = trained
    inputs, env = _policy_tensors(agent, observations), agent.get_vec_normalize_env()
    if name.startswith("ars"):
        assert teacher.value(_tensors(observations)) is None
        return
    with torch.no_grad():
        if name.startswith(("ppo", "a2c", "trpo")):
            expected = agent.policy.predict_values(inputs).squeeze(-1)
        elif name.startswith(("dqn", "qrdqn")):
            expected = _q_values(agent, inputs).max(-1).values
        else:
            mode = agent.policy._predict(inputs, deterministic=True)
            critics = agent.critic(inputs, mode)
            if name.startswith("tqc"):  # (B, n_critics, n_quantiles), sorted together
                drop = agent.top_quantiles_to_drop_per_net * critics.shape[1]
                expected = np.sort(critics.flatten(1).numpy())[:, : critics[0].numel() - drop]
                expected = torch.as_tensor(expected.mean(-1))
            else:
                expected = torch.cat(critics, dim=-1).min(-1).values
    scale = 1.0 if env is None else float(np.sqrt(env.ret_rms.var + env.epsilon))
    values = teacher.value(_tensors(observations))
    torch.testing.assert_close(values, expected * scale, rtol=2e-4, atol=2e-4)


def _q_values(agent, inputs):
    if isinstance(agent, QRDQN):
        return agent.quantile_net(inputs).mean(1)
    return agent.q_net(inputs)


def test_the_live_model_gives_the_same_teacher_as_its_files(trained):
    _, agent, teacher, observations = trained
    live = Teacher.from_sb3(agent, softening=Softening(ACTION_STD, TEMPERATURE))
    assert live.state_dict().keys() == teacher.state_dict().keys()
    for name, tensor in live.state_dict().items():
        assert torch.equal(tensor, teacher.state_dict()[name]), name
    ours = {**vars(live.description), "command": "none", "sha256": ""}
    assert ours == {**vars(teacher.description), "sha256": ""}
    np.testing.assert_array_equal(live.predict(observations)[0], teacher.predict(observations)[0])


def test_check_fits_the_environment_that_it_comes_from(trained):
    name, _, teacher, _ = trained
    case = CASES[name]
    teacher.check_fits("Anything", case.observations, case.actions)
    with pytest.raises(UserError, match="does not fit"):
        teacher.check_fits("Anything", spaces.Box(-1, 1, (77,)), case.actions)
    with pytest.raises(UserError, match="does not fit"):
        teacher.check_fits("Anything", case.observations, spaces.Discrete(77))


def test_every_weight_of_an_agent_is_a_copy():
    agent = PPO("MlpPolicy", RandomEnv(VECTOR, BOX), device="cpu", **PPO_ON)
    teacher = Teacher.from_sb3(agent)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    agent.learn(32)
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.requires_grad for parameter in agent.policy.parameters())


def test_a_set_deviation_and_temperature_must_be_above_zero():
    agent = TD3("MlpPolicy", RandomEnv(VECTOR, BOX), device="cpu", buffer_size=10)
    with pytest.raises(UserError, match="action_std"):
        Teacher.from_sb3(agent, softening=Softening(action_std=0.0))
    agent = DQN("MlpPolicy", RandomEnv(VECTOR, spaces.Discrete(2)), device="cpu", buffer_size=10)
    with pytest.raises(UserError, match="temperature"):
        Teacher.from_sb3(agent, softening=Softening(temperature=-1.0))


def test_a_teacher_of_images_has_no_statistics_for_students():
    agent = A2C("CnnPolicy", RandomEnv(IMAGE, BOX), device="cpu")
    with pytest.raises(UserError, match="not a state vector"):
        Teacher.from_sb3(agent).normaliser()


def test_statistics_of_other_groups_are_refused(tmp_path):
    env = DummyVecEnv([lambda: RandomEnv(copy.deepcopy(GROUPS), BOX)])
    agent = A2C("MultiInputPolicy", env, device="cpu")
    other = spaces.Dict({"v": spaces.Box(-1, 1, (4,))})
    stranger = VecNormalize(DummyVecEnv([lambda: RandomEnv(other, BOX)]))
    with pytest.raises(UserError, match="of another agent"):
        Teacher.from_sb3(agent, vecnormalize=stranger)
