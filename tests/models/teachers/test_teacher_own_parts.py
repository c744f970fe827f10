"""Agents with parts that are not SB3's: what can teach, what trust opens, what is refused."""

from __future__ import annotations

import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations
from torch import nn

from Algorithm import PPD
from Common.errors import UserError
from Models.sb3.trust import NeedsTrustError, Trust
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Teacher, TeacherDescription, save_teacher
from tests.models.teachers.test_teacher_adapters import RandomEnv

VECTOR = spaces.Box(-5, 5, (3,))
BOX = spaces.Box(-1, 1, (2,))
GROUPS = spaces.Dict({"v": VECTOR, "d": spaces.Discrete(3)})
PROVENANCE = {"task": "", "command": "none", "versions": {}, "baselines": {}}


class Waves(BaseFeaturesExtractor):
    """Computes what no tensor tells, and differently while it trains."""

    def __init__(self, observation_space: spaces.Space, features_dim: int = 5) -> None:
        super().__init__(observation_space, features_dim)
        self.layer = nn.Linear(3, features_dim)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Any) -> torch.Tensor:
        state = x["v"] + x["d"] if isinstance(x, dict) else x
        return self.dropout(torch.sin(3 * self.layer(state)))


class Uncopied(Waves):
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("it holds a socket")


def vec_env(space: spaces.Space = VECTOR, actions: spaces.Space = BOX) -> DummyVecEnv:
    return DummyVecEnv([lambda: RandomEnv(copy.deepcopy(space), actions)])


def agent_of(
    algorithm: Any, extractor: type, env: Any, share: bool = True, policy: str = "MlpPolicy"
) -> Any:
    off_policy: dict[str, Any] = {"buffer_size": 50, "learning_starts": 4, "batch_size": 4}
    network: dict[str, Any] = {"features_extractor_class": extractor, "net_arch": [8]}
    if algorithm is not DQN:
        network["share_features_extractor"] = share
    arguments: dict[str, Any] = {"n_steps": 8} if algorithm in (A2C, PPO) else off_policy
    return algorithm(policy, env, policy_kwargs=network, seed=1, device="cpu", **arguments)


def states(space: spaces.Space = VECTOR, n: int = 16) -> Any:
    space = copy.deepcopy(space)
    space.seed(3)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([sample[name] for sample in samples]) for name in space.spaces}
    return np.stack(samples)


# -- a features extractor of one's own -------------------------------------------------------


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", [A2C, SAC])
def test_a_live_agents_own_extractor_is_copied_and_frozen(algorithm: Any, share: bool) -> None:
    env = VecNormalize(vec_env())
    agent = agent_of(algorithm, Waves, env, share).learn(16)
    env.training = False
    teacher = Teacher.from_sb3(agent, min_std=1e-9)
    obs, seen = states(), env.normalize_obs(states())
    expected = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(teacher.predict(obs)[0], expected, rtol=0, atol=1e-6)
    inputs = agent.policy.obs_to_tensor(seen)[0]
    with torch.no_grad():
        if algorithm is A2C:
            values = agent.policy.predict_values(inputs)
        else:
            actions = agent.policy._predict(inputs, deterministic=True)
            values = torch.cat(agent.critic(inputs, actions), dim=-1).amin(-1)
    scale = float(np.sqrt(env.ret_rms.var + env.epsilon))
    value = teacher.value(torch.as_tensor(obs))
    assert value is not None
    torch.testing.assert_close(value, values.flatten() * scale, rtol=1e-4, atol=1e-5)
    # What happens to the agent afterwards is nothing to its teacher, nor is training mode.
    agent.learn(16)
    teacher.train()
    np.testing.assert_allclose(teacher.predict(obs)[0], expected, rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert any(parameter.requires_grad for parameter in agent.policy.parameters())


def test_an_own_extractor_of_groups_sees_what_sb3_gives_it() -> None:
    agent = agent_of(DQN, Waves, vec_env(GROUPS, spaces.Discrete(4)), policy="MultiInputPolicy")
    teacher = Teacher.from_sb3(agent)
    agent.policy.set_training_mode(False)
    obs = states(GROUPS)
    with torch.no_grad():
        q = agent.q_net(agent.policy.obs_to_tensor(obs)[0])
    tensors = {name: torch.as_tensor(array) for name, array in obs.items()}
    torch.testing.assert_close(teacher.value(tensors), q.amax(-1))


def test_an_imperfect_teacher_keeps_its_extractor() -> None:
    teacher = Teacher.from_sb3(agent_of(A2C, Waves, vec_env()))
    bad = corrupt(teacher, 0.1, seed=0)
    assert not np.allclose(bad.predict(states())[0], teacher.predict(states())[0])
    layers = [t.state_dict()["encoder.module.layer.weight"] for t in (bad, teacher)]
    assert 0.01 < (layers[0] - layers[1]).std() < 0.3


def test_a_student_learns_from_it() -> None:
    env = vec_env()
    student = PPD("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu")
    student.set_teacher(agent_of(A2C, Waves, env))
    assert student.learn(16).num_timesteps == 16


def test_no_bundle_can_hold_it(tmp_path: Path) -> None:
    teacher = Teacher.from_sb3(agent_of(A2C, Waves, vec_env()))
    with pytest.raises(UserError, match=r"Waves, cannot be saved: a bundle holds no code"):
        save_teacher(tmp_path, teacher.state_dict(), teacher.description, {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"extractor .*Waves, whose code is missing"):
        Teacher(teacher.description, teacher.state_dict())


def test_an_extractor_that_cannot_be_copied_is_refused() -> None:
    with pytest.raises(UserError, match=r"cannot be copied: RuntimeError.*a socket"):
        Teacher.from_sb3(agent_of(A2C, Uncopied, vec_env()))


def test_of_a_file_trust_is_not_offered_for_it(tmp_path: Path) -> None:
    """Trust could not help: what it opens must fit into a bundle."""
    path = tmp_path / "agent.zip"
    agent_of(A2C, Waves, vec_env()).save(path)
    with pytest.raises(UserError, match=r"Waves.* is not SB3's.*Teacher\.from_sb3") as error:
        read_sb3_zip(path, None)
    assert not isinstance(error.value, NeedsTrustError)


# -- trust, wherever it is offered -------------------------------------------------------------


class Sized(ActorCriticPolicy):
    """Made differently, and computed as SB3 does."""

    def __init__(self, *args: Any, hidden: int = 5, **kwargs: Any) -> None:
        super().__init__(*args, net_arch=[hidden], **kwargs)


class Timid(Sized):
    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        return 0.5 * super()._predict(observation, deterministic)


class WavesByDefault(ActorCriticPolicy):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=Waves, **kwargs)


def _sized(**arguments: Any) -> PPO:
    network = {"hidden": 7}
    return PPO(
        Sized,
        vec_env(),
        n_steps=8,
        batch_size=8,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda _: 0.2,
        policy_kwargs=network,
        seed=1,
    )


def _of_a_long_state() -> A2C:
    """Of so many different bounds NumPy's text leaves most out."""
    high = np.arange(1, 2001, dtype=np.float32)
    return A2C("MlpPolicy", vec_env(spaces.Box(-high, high)), seed=1)


def _of_a_quoted_name() -> SAC:
    space = spaces.Dict({"it's": VECTOR, "b": VECTOR})
    noise = NormalActionNoise(np.zeros(2), np.ones(2))
    return SAC("MultiInputPolicy", vec_env(space), buffer_size=10, action_noise=noise, seed=1)


@pytest.mark.parametrize("make", [_sized, _of_a_long_state, _of_a_quoted_name])
def test_what_is_refused_with_the_offer_of_trust_is_read_with_it(make: Any, tmp_path: Path) -> None:
    agent, path = make(), tmp_path / "agent.zip"
    agent.save(path)
    with pytest.raises(NeedsTrustError, match="`trust`"):
        read_sb3_zip(path, None)
    trust = Trust([sha256(path.read_bytes()).hexdigest()])
    tensors, fields = read_sb3_zip(path, None, trust=trust)
    obs = states(agent.observation_space)
    teacher = Teacher(TeacherDescription(**fields, **PROVENANCE), tensors)
    expected = agent.predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(teacher.predict(obs)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "message"),
    [(Timid, "with its own _predict"), (WavesByDefault, r"Waves.* is not SB3's")],
)
def test_trust_makes_no_teacher_of_what_tensors_do_not_tell(
    policy: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "agent.zip"
    A2C(policy, vec_env()).save(path)
    trust = Trust([sha256(path.read_bytes()).hexdigest()])
    with pytest.raises(UserError, match=message):
        read_sb3_zip(path, None, trust=trust)


def test_a_live_policy_of_ones_own_is_taken_where_it_computes_what_sb3s_does() -> None:
    agent = _sized()
    expected = agent.predict(states(), deterministic=True)[0]
    np.testing.assert_allclose(Teacher.from_sb3(agent).predict(states())[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="Timid with its own _predict"):
        Teacher.from_sb3(A2C(Timid, vec_env()))


class OwnVecNormalize(VecNormalize):
    """Its records are not those of a VecNormalize."""


def test_a_trusted_vecnormalize_of_ones_own_is_unpickled(tmp_path: Path) -> None:
    env, path = OwnVecNormalize(vec_env()), tmp_path / "v.pkl"
    A2C("MlpPolicy", env, n_steps=8).learn(16).save(tmp_path / "agent.zip")
    env.save(str(path))
    with pytest.raises(NeedsTrustError, match=r"OwnVecNormalize.*`trust`"):
        read_sb3_zip(tmp_path / "agent.zip", path)
    trust = Trust([sha256(path.read_bytes()).hexdigest()])
    tensors, _ = read_sb3_zip(tmp_path / "agent.zip", path, trust=trust)
    statistics: Any = env.obs_rms
    np.testing.assert_array_equal(tensors["state_normaliser.mean"], statistics.mean)


# -- wrappers around statistics ----------------------------------------------------------------


@pytest.mark.parametrize("from_file", [True, False])
def test_statistics_inside_a_frame_stack(from_file: bool, tmp_path: Path) -> None:
    """SB3 stacks normalised states, and the teacher takes raw ones; before an episode's third
    step some of the three are zeros in both.
    """
    inner = VecNormalize(vec_env())
    agent = A2C("MlpPolicy", VecFrameStack(inner, 3), n_steps=8, seed=1).learn(64)
    inner.training = False
    if from_file:
        agent.save(tmp_path / "agent.zip")
        inner.save(str(tmp_path / "v.pkl"))
        tensors, fields = read_sb3_zip(tmp_path / "agent.zip", tmp_path / "v.pkl")
        teacher = Teacher(TeacherDescription(**fields, **PROVENANCE), tensors)
    else:
        teacher = Teacher.from_sb3(agent)
    raw, normalised = StackedObservations(1, 3, VECTOR), StackedObservations(1, 3, VECTOR)
    for step, state in enumerate(states(n=7)[:, None]):
        seen = inner.normalize_obs(state)
        assert isinstance(seen, np.ndarray)
        if step == 0:
            ours, theirs = raw.reset(state), normalised.reset(seen)
        else:  # another episode begins at step 4
            done, info = np.array([step == 4]), {"terminal_observation": state[0]}
            ours, theirs = (
                stack.update(x, done, [dict(info)])[0]
                for stack, x in ((raw, state), (normalised, seen))
            )
        expected = agent.predict(theirs, deterministic=True)[0]
        np.testing.assert_allclose(teacher.predict(ours)[0], expected, rtol=0, atol=1e-6)


def test_statistics_of_fewer_numbers_are_no_stack_where_the_bounds_differ(tmp_path: Path) -> None:
    stranger = VecNormalize(vec_env(spaces.Box(-5, 5, (2,))))
    uneven = spaces.Box(np.array([-1, -2, -3, -4], np.float32), np.ones(4, np.float32))
    agent = A2C("MlpPolicy", vec_env(uneven))
    with pytest.raises(UserError, match="of another agent"):
        Teacher.from_sb3(agent, vecnormalize=stranger)


class Framed(gym.Env):
    """A picture, channels last, and a state."""

    observation_space = spaces.Dict({"img": spaces.Box(0, 255, (36, 36, 3), np.uint8), "v": VECTOR})
    action_space = BOX

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def test_the_raw_observations_of_a_student_under_a_transposed_image() -> None:
    env = VecNormalize(DummyVecEnv([Framed]), norm_obs_keys=["v"])
    agent: Any = A2C("MultiInputPolicy", env, n_steps=4, seed=1).learn(8)  # SB3 transposes there
    env.training = False
    student: Any = PPD("MultiInputPolicy", env, n_steps=4, batch_size=4, device="cpu", seed=2)
    student.set_teacher(agent)
    student.learn(4)
    seen, raw = student.rollout_buffer.flat_obs(), student.rollout_buffer._teacher_obs
    images, vectors = torch.cat(list(raw["img"])), torch.cat(list(raw["v"]))
    assert torch.equal(images, seen["img"])
    statistics: Any = env.obs_rms
    mean, var = statistics["v"].mean, statistics["v"].var
    normalised = (vectors.numpy() - mean) / np.sqrt(var + env.epsilon)
    np.testing.assert_allclose(normalised, seen["v"], atol=1e-5)
    with torch.no_grad():
        expected = agent.policy.get_distribution(seen).distribution.mean
    torch.testing.assert_close(student.rollout_buffer.teacher.mean, expected)
