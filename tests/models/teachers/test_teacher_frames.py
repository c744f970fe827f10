"""Teachers that see frames, as on Atari and Procgen, and students that see nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from Algorithm import PPD, StudentDistill, TeacherDistill
from Algorithm.augmentation_config import AugmentationConfig
from Common.errors import UserError
from Enviroment.tasks import Task
from Models.networks.impala_extractor import ImpalaExtractor
from Models.sb3.zip_file import read_sb3_zip
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher, TeacherDescription, save_teacher
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.settings.config import PPOTeacherConfig

SHAPE = (2, 36, 40)  # a stack of two gray frames
FRAME = spaces.Box(0, 255, SHAPE, np.uint8)
TASK = Task("Blink", "Blink-v0", None, (), None, SHAPE[1:], stack=2, frame_interval=1)
IMPALA = {"features_extractor_class": ImpalaExtractor, "net_arch": []}
SMALL = {"features_extractor_kwargs": {"filters": (4, 8), "features_dim": 16}}
SMALLER = StudentConfig(
    mode="NatureCNN",
    family="categorical",
    proprio_features=0,
    head=(),
    activation="ReLU",
    precision="float32",
    fully_connected=16,
    separate_critic=True,
)


class Blink(gym.Env):
    """A bright third of the picture, left, middle or right: its number is the rewarded action."""

    def __init__(self, grouped: bool) -> None:
        self.observation_space = spaces.Dict({"frame": FRAME}) if grouped else FRAME
        self.action_space, self.grouped = spaces.Discrete(3), grouped

    def _obs(self) -> Any:
        frame = self.np_random.integers(0, 60, SHAPE[1:], np.uint8)
        self.answer = int(self.np_random.integers(3))
        frame[:, 13 * self.answer : 13 * (self.answer + 1)] += 150
        self.stack = np.stack([frame if self.t == 0 else self.stack[-1], frame])
        return {"frame": self.stack} if self.grouped else self.stack

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == self.answer)
        self.t += 1
        return self._obs(), reward, False, self.t == 5, {}


class OfTask(VecEnvWrapper):
    """Says how its frames are stacked, so that a rollout keeps each of them once."""

    task = TASK

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seen: list[np.ndarray] = []

    def reset(self) -> Any:
        obs = self.venv.reset()
        self.seen = [obs["frame"].copy()]  # pyright: ignore[reportArgumentType, reportCallIssue]
        return obs

    def step_wait(self) -> Any:
        step = self.venv.step_wait()
        self.seen.append(step[0]["frame"].copy())  # pyright: ignore[reportArgumentType, reportCallIssue]
        return step


def make_envs(grouped: bool = True, seed: int = 0) -> VecEnv:
    return make_vec_env(Blink, 2, seed=seed, env_kwargs={"grouped": grouped})


@cache
def teacher_agent(grouped: bool = True) -> PPO:
    """Not trained, but with outputs that differ from frame to frame."""
    policy, network = "MultiInputPolicy" if grouped else "CnnPolicy", IMPALA | SMALL
    network["share_features_extractor"] = False
    agent = PPO(policy, make_envs(grouped), policy_kwargs=network, seed=0, device="cpu")
    with torch.no_grad():
        for parameter in agent.policy.action_net.parameters():
            parameter.mul_(300)
    return agent


@pytest.mark.parametrize("cnn", ["impala", "nature"])
def test_a_teacher_is_the_agent_that_was_trained_whatever_its_cnn(cnn: Any) -> None:
    settings = PPOTeacherConfig(
        num_envs=2, n_steps=8, batch_size=16, n_epochs=1, net_arch=(16, 8), cnn=cnn
    )
    env = normalise(make_envs(), settings)
    agent: Any = make_agent(settings, env, torch.device("cpu"), 0).learn(32)
    extractors = {"impala": ImpalaExtractor, "nature": CombinedExtractor}
    assert type(agent.policy.features_extractor) is extractors[cnn]
    assert agent.policy.share_features_extractor == (cnn == "nature")
    first: Any = make_envs(seed=5).reset()
    obs: Any = {"frame": torch.as_tensor(first["frame"])}
    with torch.no_grad():
        expected = agent.policy.get_distribution(obs).distribution.logits
        found: Any = Teacher.from_sb3(agent).distribution(obs)
    # Training's convolutions may be bfloat16; the teacher's are float32.
    torch.testing.assert_close(
        found.logits.log_softmax(-1), expected, atol=1e-2 if cnn == "impala" else 1e-6, rtol=0.0
    )


def learner(algorithm: Any, teacher: Any, config: StudentConfig = SMALLER, **more: Any) -> Any:
    settings: dict[str, Any] = {"n_steps": 8, "seed": 2, "device": "cpu", "learning_rate": 1e-3}
    if algorithm is PPD:
        settings |= {"batch_size": 8, "n_epochs": 2}
    kwargs = {"config": config}
    env = OfTask(make_envs(seed=3))
    return algorithm(StudentPolicy, env, teacher, policy_kwargs=kwargs, **settings, **more)


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill, TeacherDistill])
def test_a_student_of_frames_learns_from_a_teacher_of_frames(
    algorithm: Any, tmp_path: Path
) -> None:
    agent = teacher_agent()
    teacher = Teacher.from_sb3(agent)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    model = learner(algorithm, teacher)
    model.learn(16)
    # The labels are SB3's own, of the stacks that the environment gave, in the rollout's order.
    stacks = np.stack(model.env.seen[:8], axis=1).reshape(-1, *SHAPE)
    with torch.no_grad():
        seen: Any = {"frame": torch.as_tensor(stacks)}
        dist: Any = agent.policy.get_distribution(seen).distribution
    labels = model.rollout_buffer.teacher.logits.log_softmax(-1)
    assert labels.std(0).max() > 0.1
    torch.testing.assert_close(labels, dist.logits, rtol=1e-4, atol=1e-4)
    weights = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(32, reset_num_timesteps=False)
    moved = zip(weights, model.policy.parameters(), strict=True)
    assert all(not torch.equal(old, new) for old, new in moved)
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    save_student(model.policy, tmp_path, {})
    obs = model.env.reset()
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_array_equal(
        load_student(tmp_path).predict(obs, deterministic=True)[0], expected
    )


def test_distillation_brings_the_student_to_its_teacher() -> None:
    model = learner(StudentDistill, Teacher.from_sb3(teacher_agent()))
    model.learning_rate = model.lr_schedule = lambda _: 3e-3
    kls = []
    for rollouts in (1, 20):
        model.learn(16 * rollouts, reset_num_timesteps=False)
        buffer = model.rollout_buffer
        kls.append(buffer.teacher.kl(buffer.flat_student()).mean().item())
    assert kls[1] < 0.3 * kls[0]


@pytest.mark.parametrize("grouped", [True, False])
def test_a_bundle_of_the_zip_is_the_live_teacher(grouped: bool, tmp_path: Path) -> None:
    """An image teacher that was trained on no dictionary reads `frame` of one."""
    agent = teacher_agent(grouped)
    agent.save(tmp_path / "agent.zip")
    tensors, fields = read_sb3_zip(tmp_path / "agent.zip", None)
    description = TeacherDescription(**fields, task="", command="none", versions={}, baselines={})
    save_teacher(tmp_path / "teacher", tensors, description, {})
    teacher = Teacher.load(tmp_path / "teacher")
    assert teacher.observation_groups == ("frame",)
    teacher.check_fits("", spaces.Dict({"frame": FRAME}), spaces.Discrete(3))
    with pytest.raises(UserError, match="does not fit"):
        teacher.check_fits("", spaces.Dict({"state": FRAME}), spaces.Discrete(3))
    other = spaces.Box(0, 255, (4, 36, 40), np.uint8)
    with pytest.raises(UserError, match="does not fit"):
        teacher.check_fits("", spaces.Dict({"frame": other}), spaces.Discrete(3))
    frames = np.stack([FRAME.sample() for _ in range(9)])
    expected = agent.predict({"frame": frames} if grouped else frames, deterministic=True)[0]
    np.testing.assert_array_equal(teacher.predict({"frame": frames})[0], expected)
    seen: Any = torch.as_tensor(frames)
    with torch.no_grad():
        values = agent.policy.predict_values({"frame": seen} if grouped else seen).squeeze(-1)
        dist: Any = agent.policy.get_distribution({"frame": seen} if grouped else seen)
    ours = teacher.distribution({"frame": seen}).params()["logits"].log_softmax(-1)
    torch.testing.assert_close(ours, dist.distribution.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(teacher.value({"frame": seen}), values, rtol=1e-5, atol=1e-5)


def test_many_frames_are_computed_in_chunks() -> None:
    teacher = Teacher.from_sb3(teacher_agent())
    frames = torch.randint(0, 256, (600, *SHAPE), dtype=torch.uint8)
    sizes = []
    handle = teacher.encoder.get_submodule("parts.0").register_forward_hook(
        lambda _, x, __: sizes.append(len(x[0]))
    )
    whole = teacher.distribution({"frame": frames}).params()["logits"]
    handle.remove()
    assert sizes == [256, 256, 88]
    parts = [teacher.distribution({"frame": f}).params()["logits"] for f in frames.split(100)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("bfloat16")
def test_training_in_bfloat16_gives_about_the_same_teacher() -> None:
    exact = teacher_agent().policy.pi_features_extractor
    coarse = ImpalaExtractor(spaces.Dict({"frame": FRAME}), (4, 8), 16, precision="bfloat16")
    coarse.load_state_dict(exact.state_dict())
    images = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, features = exact({"frame": images}), coarse({"frame": images})
    assert features.dtype == torch.float32
    assert 0 < (features - expected).norm() / expected.norm() < 0.02


def test_sb3s_ppo_trains_a_student_of_frames() -> None:
    """Its environment is solved by what is seen: chance is 5 / 3 an episode."""
    settings: dict[str, Any] = {"n_steps": 64, "batch_size": 32, "n_epochs": 4, "gamma": 0.0}
    settings |= {"learning_rate": 5e-4, "seed": 0, "device": "cpu"}
    model = PPO(StudentPolicy, make_envs(), policy_kwargs={"config": SMALLER}, **settings)
    model.learn(128 * 5)
    mean, _ = evaluate_policy(model, make_envs(seed=9), n_eval_episodes=10)
    assert float(np.mean(mean)) > 4.0


def test_augmentation_and_warm_up_of_a_student_of_frames() -> None:
    teacher = Teacher.from_sb3(teacher_agent())
    shift = AugmentationConfig(random_shift=2)
    model = learner(PPD, teacher, augmentation=shift, critic_warmup=16)
    policy = model.policy
    before = {name: p.clone() for name, p in policy.named_parameters()}
    model.learn(16)  # the critic's rollout
    for name, parameter in policy.named_parameters():
        assert torch.equal(parameter, before[name]) == (not name.startswith("critic")), name
    with pytest.raises(UserError, match="frames only"):
        learner(PPD, teacher, augmentation=AugmentationConfig(modality_dropout=0.1))
