"""The learner on a GPU against the same on the processor. Nothing here draws by OpenGL."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from Algorithm.augmentation import random_shift
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.rollout import FrameHistory
from Common.device import upload
from Common.errors import UserError
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Enviroment.tasks import TASKS
from Models.distributions import DiagGaussian
from Models.networks.encoders import FILTERS
from Models.networks.impala import ImpalaEncoder
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.cloning_data import MemoryData, Recorder, student
from tests.support.tiny_teacher import tiny_teacher

pytestmark = pytest.mark.cuda

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHAPE = (2, 16, 16)


@pytest.fixture(autouse=True)
def float32_as_it_is() -> Iterator[None]:
    """Nothing is rounded to TF32."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


class Noise(gym.Env):
    """Frames and states that have nothing to do with each other; ends after 20 steps."""

    observation_space = spaces.Dict(
        {
            "frame": spaces.Box(0, 255, SHAPE, np.uint8),
            "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
            "state": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        }
    )
    action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)

    def _obs(self) -> dict[str, np.ndarray]:
        rng, state = self.np_random, self.np_random.normal(size=5).astype(np.float32)
        frame = rng.integers(0, 256, SHAPE, np.uint8)
        return {"frame": frame, "proprio": state[:3], "state": state}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), {}

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        return self._obs(), float(-np.square(action).sum()), False, self.steps == 20, {}


def model_on(
    device: torch.device, algorithm: type[OnPolicyStudent] = PPD, **settings: Any
) -> OnPolicyStudent:
    teacher = tiny_teacher("gaussian", state_dim=5, action_dim=2, task="")
    config = StudentConfig(mode="ImpaalaSmall", family="gaussian", precision="float32")
    if algorithm is PPD:
        settings = {"batch_size": 32, "n_epochs": 2, **settings}
    model = algorithm(
        StudentPolicy,  # pyright: ignore[reportCallIssue]
        DummyVecEnv([lambda: gym.wrappers.TimeLimit(Noise(), 20)] * 4),  # pyright: ignore[reportArgumentType]
        teacher,
        n_steps=24,
        policy_kwargs={"config": config, "optimizer_kwargs": {"fused": True}},
        seed=0,
        device=device,
        **settings,
    )
    model.set_logger(Logger(None, [Recorder()]))
    return model


def known_noise() -> Callable[[DiagGaussian], Tensor]:
    """`DiagGaussian.sample`, with the same noise on every device."""
    generator = np.random.default_rng(0)

    def sample(self: DiagGaussian) -> Tensor:
        noise = torch.from_numpy(generator.standard_normal(self.mean.shape).astype(np.float32))
        return (self.mean + noise.to(self.mean.device) * self.log_std.exp()).detach()

    return sample


def waits_of(run: Callable[[], object]) -> int:
    """How often the processor waits for the GPU."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(w.message) for w in caught)


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill])
def test_training_equals_the_processors(algorithm: type[OnPolicyStudent]) -> None:
    points, states = [], []
    for device in (CPU, CUDA):
        model = model_on(device, algorithm)
        if states:
            model.policy.load_state_dict(states[0])
        states.append({k: v.clone() for k, v in model.policy.state_dict().items()})
        with patch.object(DiagGaussian, "sample", known_noise()):
            np.random.seed(0)
            model.learn(2 * 24 * 4)
        (recorder,) = model.logger.output_formats
        assert isinstance(recorder, Recorder)
        points.append(recorder.points)
    for ours, theirs in zip(*points, strict=True):
        for name, value in ours.items():
            if name.startswith(("train/", "rollout/")):
                assert theirs[name] == pytest.approx(value, rel=5e-3, abs=5e-3), name


def test_minibatches_wait_for_nothing() -> None:
    model = model_on(CUDA)
    model.learn(24 * 4)
    few = waits_of(model.train)
    model.n_epochs = 8  # 3 minibatches each
    assert waits_of(model.train) == few


def test_a_graph_takes_the_steps_of_single_launches() -> None:
    states, curves = [], []
    for captures in (True, False):
        model = model_on(CUDA, batch_size=8)  # 12 minibatches in each of 2 epochs
        model._graph.enabled = captures
        with patch.object(DiagGaussian, "sample", known_noise()):
            np.random.seed(0)
            model.learn(3 * 24 * 4)
        assert (model._graph._graph is not None) == captures
        assert model.gradient_steps == 3 * 24
        states.append(model.policy.state_dict())
        (recorder,) = model.logger.output_formats
        assert isinstance(recorder, Recorder)
        curves.append(recorder.points)
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=2e-3, atol=2e-4)
    for ours, theirs in zip(*curves, strict=True):
        for name in (n for n in ours if n.startswith("train/")):
            assert theirs[name] == pytest.approx(ours[name], rel=5e-3, abs=5e-3), name


def test_a_graph_leaves_the_weights_at_a_step_that_is_not_finite() -> None:
    weights = []
    for captures in (True, False):
        model = model_on(CUDA, batch_size=8, n_epochs=1)
        model._graph.enabled = captures
        with patch.object(DiagGaussian, "sample", known_noise()):
            np.random.seed(0)
            model.learn(24 * 4)
            model.rollout_buffer.advantages[5, 2] = np.inf
            model.rollout_buffer._samples = None
            with pytest.raises(
                UserError, match=r"loss is not finite at gradient step \d+ "
            ) as error:
                model.train()
        weights.append((str(error.value), model.policy.state_dict()))
    assert weights[0][0] == weights[1][0]
    for name, tensor in weights[0][1].items():
        torch.testing.assert_close(tensor, weights[1][1][name], rtol=2e-3, atol=2e-4)


def test_gradient_steps_of_cloning_wait_for_nothing() -> None:
    config = CloningConfig(
        batch_size=16, gradient_steps=40, log_every=1000, validate_every=1000, held_out=0.0
    )
    counts = []
    for steps in (10, 40):
        config = dataclasses.replace(config, gradient_steps=steps)
        model = BehaviouralCloning(student("ImpaalaSmall").to(CUDA), MemoryData(), config)
        counts.append(waits_of(model.learn))
    assert counts[0] == counts[1]


def test_cloning_equals_the_processors() -> None:
    config = CloningConfig(batch_size=16, gradient_steps=12, log_every=1)
    curves = []
    for device in (CPU, CUDA):
        recorder, policy = Recorder(), student("ImpaalaSmall").to(device)
        model = BehaviouralCloning(policy, MemoryData(), config)
        model.set_logger(Logger(None, [recorder]))
        model.learn()
        curves.append(recorder.curve("train/loss") + recorder.curve("val/loss"))
    np.testing.assert_allclose(*curves, rtol=1e-3, atol=1e-3)


def test_a_graph_clones_as_single_launches() -> None:
    config = CloningConfig(batch_size=16, gradient_steps=90, log_every=30, validate_every=90)
    states, curves = [], []
    for captures in (True, False):
        recorder, policy = Recorder(), student("ImpaalaSmall").to(CUDA)
        model = BehaviouralCloning(policy, MemoryData(), config)
        model._step._graph.enabled = captures
        model.set_logger(Logger(None, [recorder]))
        model.learn()
        assert (model._step._graph._graph is not None) == captures
        states.append(policy.state_dict())
        curves.append(recorder.curve("train/loss") + recorder.curve("train/learning_rate"))
    np.testing.assert_allclose(*curves, rtol=5e-3, atol=5e-3)
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=2e-2, atol=2e-3)


def test_a_step_that_is_not_finite_leaves_the_weights() -> None:
    model = model_on(CUDA)
    model.learn(24 * 4)
    before = {k: v.clone() for k, v in model.policy.state_dict().items()}
    parameter = next(model.policy.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(UserError, match="gradient is not finite at gradient step 6 "):
        model.train()
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_uploads_wait_for_nothing_and_may_be_written_over() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (64, 2, 32, 32), np.uint8) for _ in range(20)]
    expected, tensors = [array.copy() for array in arrays], []

    def send() -> None:
        torch.cuda._sleep(100_000_000)  # cycles: the GPU is busy while the copies are asked for
        for array in arrays:
            tensors.append(upload({"frame": array}, CUDA)["frame"])
            array[:] = 0

    assert waits_of(send) == 0
    for tensor, array in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(tensor.cpu().numpy(), array)


def test_frames_kept_once_are_those_of_the_processor() -> None:
    task = dataclasses.replace(TASKS["Pusher"], frame_size=(16, 16))
    rng, read = np.random.default_rng(0), []
    stacks = rng.integers(0, 256, (9, 3, 4, 16, 16), np.uint8)
    starts = rng.random((9, 3)) < 0.3
    for device in (CPU, CUDA):
        history = FrameHistory(9, 3, task, device)
        history.start_rollout()
        for step in range(9):
            history.add(step, upload(stacks[step], device), starts[step])
        steps, envs = np.divmod(np.arange(27), 3)
        read.append(history.read(steps, envs).cpu())
    assert torch.equal(*read)


def test_shifts_are_those_of_the_processor() -> None:
    frames = torch.arange(8 * 2 * 16 * 16).view(8, 2, 16, 16).to(torch.uint8)
    shifted = []
    for device in (CPU, CUDA):
        torch.manual_seed(3)
        shifted.append(random_shift(frames.to(device), 3).cpu())
    assert torch.equal(*shifted)


def test_generators_go_on_where_they_were() -> None:
    torch.rand(3, device=CUDA)
    tensors, values = pack(capture_generators())
    expected = torch.rand(5, device=CUDA), torch.rand(5)
    restore_generators(unpack(tensors, values))
    found = torch.rand(5, device=CUDA), torch.rand(5)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_a_stored_training_goes_on_on_either_device() -> None:
    model = model_on(CUDA)
    model.learn(24 * 4)
    state = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
    }
    stored = unpack(*pack(state))
    for device in (CPU, CUDA):
        policy = model_on(device).policy
        policy.load_state_dict(stored["policy"])
        policy.optimizer.load_state_dict(stored["optimizer"])
        for parameter, original in zip(policy.parameters(), model.policy.parameters(), strict=True):
            assert torch.equal(parameter.cpu(), original.cpu())
            moments = policy.optimizer.state[parameter]
            assert {moments[name].device.type for name in moments} == {device.type}
            parameter.grad = torch.ones_like(parameter)
        policy.optimizer.step()


def test_bfloat16_is_near_float32_and_its_weights_stay_float32() -> None:
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bfloat16")
    encoders = [ImpalaEncoder(2, FILTERS["ImpaalaSmall"], 3, p) for p in ("float32", "bfloat16")]
    encoders[1].load_state_dict(encoders[0].state_dict())
    frames = torch.randint(0, 256, (8, *SHAPE), dtype=torch.uint8, device=CUDA)
    plain, half = (encoder.to(CUDA)(frames) for encoder in encoders)
    assert half.dtype == torch.float32
    apart = ((half - plain).norm() / plain.norm()).item()
    assert 0 < apart < 0.03
    half.sum().backward()
    gradients = [parameter.grad for parameter in encoders[1].parameters()]
    assert {gradient.dtype for gradient in gradients if gradient is not None} == {torch.float32}
