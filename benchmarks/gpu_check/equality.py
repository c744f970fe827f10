"""Compare losses and gradients on the GPU and on the CPU, in float32 and in bfloat16."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.samples.data import TeacherSamples
from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.rollout import Minibatch
from benchmarks.gpu_check.setting import Setting, recorded
from Enviroment.dataset.collect import collect
from Enviroment.dataset.reader import TeacherDataset
from Models.distributions import DiagGaussian, Distribution
from Models.sb3.policies import distribution_and_value
from Models.student.policy import StudentPolicy
from Models.teacher.labels import TeacherLabeller

CPU = torch.device("cpu")
LOSS = 1e-4  # relative to 1 + |loss|, on the same minibatch with the same weights
GRADIENT = 1e-3  # relative to the gradient's norm, on the same minibatch
CURVE = 2e-2  # relative to 1 + |loss|, in separate trainings of a few updates
BF16_LOSS, BF16_COSINE = 5e-2, 0.98  # against float32 on the same device


def check(setting: Setting) -> None:
    """Compare single minibatches, then short trainings."""
    with exact_float32():
        for algorithm in (PPD, StudentDistill):
            what = algorithm.__name__
            setting.findings.attempt(what, lambda a=algorithm: _minibatches(setting, a))
        for algorithm in (PPD, StudentDistill):
            what = f"{algorithm.__name__}, training"
            setting.findings.attempt(what, lambda a=algorithm: _on_policy_curves(setting, a))
        setting.findings.attempt("BC and DAgger", lambda: _cloning_curves(setting))


@contextmanager
def exact_float32() -> Iterator[None]:
    """Disable TF32 in matrix products and convolutions of float32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _minibatches(setting: Setting, algorithm: type[OnPolicyStudent]) -> None:
    """Compare losses and gradients of a rollout of the CPU on both devices."""
    env = setting.env()
    try:
        ours = setting.model(env, CPU, algorithm=algorithm)
        recorded(ours)
        ours.learn(ours.n_steps * env.num_envs)  # one rollout, which remains in the buffer
        theirs = setting.model(env, setting.device, algorithm=algorithm)
        theirs.policy.load_state_dict(ours.policy.state_dict())
        batch = next(ours.rollout_buffer.minibatches(256))
        expected, expected_gradient = losses_and_gradient(ours, batch)
        found, gradient = losses_and_gradient(theirs, moved(batch, setting.device))
    finally:
        env.close()
    worst = max(abs(found[k] - v) / (1 + abs(v)) for k, v in expected.items())
    apart = float((gradient - expected_gradient).norm() / expected_gradient.norm())
    setting.findings.row(
        what=f"{algorithm.__name__}, one minibatch of {len(batch.raw_actions)}",
        losses=", ".join(f"{k} {v:.4g}" for k, v in expected.items()),
        apart=worst,
        tolerance=LOSS,
        gradient_apart=apart,
        gradient_tolerance=GRADIENT,
    )
    setting.findings.expect(worst <= LOSS, f"{algorithm.__name__}: losses are {worst:.2g} apart")
    setting.findings.expect(apart <= GRADIENT, f"{algorithm.__name__}: gradient {apart:.2g} apart")


def losses_and_gradient(
    model: OnPolicyStudent, batch: Minibatch
) -> tuple[dict[str, float], Tensor]:
    """Return the loss and its terms by name, and the whole gradient in float64 on the CPU."""
    model.policy.set_training_mode(True)
    student, values = distribution_and_value(model.policy, batch.obs)
    losses = model.minibatch_losses(student, values, batch)
    model.policy.optimizer.zero_grad()
    losses.total.backward()
    gradients = [p.grad.flatten() for p in model.policy.parameters() if p.grad is not None]
    terms = {"total": losses.total, **losses.terms}
    return {k: v.item() for k, v in terms.items()}, torch.cat(gradients).double().cpu()


def features(model: OnPolicyStudent, batch: Minibatch) -> Tensor:
    """Return the encoder's features of the minibatch's frames."""
    assert isinstance(model.policy, StudentPolicy) and isinstance(batch.obs, dict)
    with torch.no_grad():
        return model.policy.encoder(batch.obs["frame"])


def moved(batch: Minibatch, device: torch.device) -> Minibatch:
    """Return a copy of the minibatch on another device."""

    def move(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: move(tensor) for name, tensor in value.items()}
        if isinstance(value, Distribution):
            return type(value)(**move(value.params()))
        return value.to(device) if isinstance(value, Tensor) else value

    fields = {f.name: move(getattr(batch, f.name)) for f in dataclasses.fields(batch)}
    return Minibatch(**fields)


def known_noise() -> Callable[[DiagGaussian], Tensor]:
    """Return a `DiagGaussian.sample` with noise of NumPy, which is the same on every device."""
    generator = np.random.default_rng(0)

    def sample(self: DiagGaussian) -> Tensor:
        noise = generator.standard_normal(tuple(self.mean.shape)).astype(np.float32)
        return (
            self.mean + torch.from_numpy(noise).to(self.mean.device) * self.log_std.exp()
        ).detach()

    return sample


def _on_policy_curves(setting: Setting, algorithm: type[OnPolicyStudent]) -> None:
    """Compare the losses of three rollouts with the same noise on both devices."""
    curves, weights = [], None
    for device in (CPU, setting.device):
        env = setting.env()
        try:
            model = setting.model(env, device, algorithm=algorithm)
            state = model.policy.state_dict()
            weights = weights or {name: tensor.clone() for name, tensor in state.items()}
            model.policy.load_state_dict(weights)
            recorder = recorded(model)
            with patch.object(DiagGaussian, "sample", known_noise()):
                np.random.seed(0)
                model.learn(3 * model.n_steps * env.num_envs)
        finally:
            env.close()
        curves.append(recorder.points)
    _compare_curves(setting, f"{algorithm.__name__}, 3 rollouts", *curves)


def _cloning_curves(setting: Setting) -> None:
    """Compare the losses of BC and DAgger per step, on the same batches."""
    folder, task, teacher = setting.work / "dataset", setting.task(), setting.teacher(CPU)
    collect(task, TeacherLabeller(teacher), folder, 400 if setting.quick else 2000)
    data = TeacherSamples(TeacherDataset.open(folder, task))
    config = CloningConfig(gradient_steps=20, batch_size=64, log_every=1, held_out=0.0)
    curves: dict[str, list[Any]] = {"BC": [], "DAgger": []}
    for device in (CPU, setting.device):
        env = setting.env()
        try:
            recorder = recorded(bc := BehaviouralCloning(_student(setting, device), data, config))
            bc.learn()
            curves["BC"].append(recorder.points)
            rounds = DaggerConfig(rounds=1, env_steps=20 * env.num_envs, gradient_steps=20)
            student, labeller = _student(setting, device), setting.teacher(device)
            dagger = DAgger(student, env, labeller, data, config, rounds)
            recorder = recorded(dagger)
            dagger.learn()
            curves["DAgger"].append(recorder.points)
        finally:
            env.close()
    for name, (ours, theirs) in curves.items():
        _compare_curves(setting, f"{name}, {len(ours)} logging points", ours, theirs)


def _student(setting: Setting, device: torch.device) -> StudentPolicy:
    env = setting.env(1)
    env.close()
    teacher = setting.teacher(CPU)
    mean, std = (statistic.numpy() for statistic in teacher.normaliser())
    joints = setting.task().proprio_indices
    model_config = setting.config(teacher, "float32")
    torch.manual_seed(0)
    policy = StudentPolicy(
        env.observation_space,
        env.action_space,
        lambda _: 0.0,
        config=model_config,
        group_mean={"proprio": mean[joints].tolist()},
        group_std={"proprio": std[joints].tolist()},
    )
    return policy.to(device)


def _compare_curves(
    setting: Setting, what: str, expected: list[dict[str, float]], found: list[dict[str, float]]
) -> None:
    setting.findings.expect(len(expected) == len(found), f"{what}: unequal logging points")
    worst, where = 0.0, ""
    for ours, theirs in zip(expected, found, strict=False):
        for name in ("train/loss", "train/kl", "train/value_loss", "train/pg_loss"):
            if name in ours:
                apart = abs(ours[name] - theirs[name]) / (1 + abs(ours[name]))
                worst, where = max((worst, where), (apart, name))
    setting.findings.row(what=what, losses=f"worst: {where}", apart=worst, tolerance=CURVE)
    setting.findings.expect(worst <= CURVE, f"{what}: {where} is {worst:.2g} apart")


def check_bf16(setting: Setting) -> None:
    """Compare one minibatch in bfloat16 and float32, then run a short training."""
    env = setting.env()
    try:
        models = {p: setting.model(env, setting.device, precision=p) for p in _PRECISIONS}
        plain, half = models.values()
        half.policy.load_state_dict(plain.policy.state_dict())
        recorded(plain)
        plain.learn(plain.n_steps * env.num_envs)
        half.policy.load_state_dict(plain.policy.state_dict())
        batch = next(plain.rollout_buffer.minibatches(256))
        with exact_float32():
            expected, expected_gradient = losses_and_gradient(plain, batch)
            seen = [features(model, batch) for model in (plain, half)]
        features_apart = float((seen[1] - seen[0]).norm() / seen[0].norm())
        setting.findings.fact("features apart, relative", features_apart)
        setting.findings.expect(
            0 < features_apart <= BF16_LOSS, "bfloat16 does not affect the features"
        )
        found, gradient = losses_and_gradient(half, batch)
        apart = abs(found["total"] - expected["total"]) / (1 + abs(expected["total"]))
        cosine = float(torch.cosine_similarity(gradient, expected_gradient, dim=0))
        setting.findings.fact("total loss apart, of 1 + |loss|", apart)
        setting.findings.fact("cosine of the gradients", cosine)
        setting.findings.expect(apart <= BF16_LOSS, f"losses are {apart:.2g} apart")
        setting.findings.expect(cosine >= BF16_COSINE, f"gradients have the cosine {cosine:.3f}")
        recorder = recorded(half)
        half.learn(4 * half.n_steps * env.num_envs)
        setting.findings.fact("KL by rollout", [p["train/kl"] for p in recorder.points])
        dtypes = {str(p.dtype) for p in half.policy.parameters()}
        setting.findings.expect(dtypes == {"torch.float32"}, f"weights are {dtypes}")
    finally:
        env.close()


_PRECISIONS = ("float32", "bfloat16")
