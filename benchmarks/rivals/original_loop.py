"""Rival of `benchmarks/ppd.py`: the PPD loop of an earlier Pusher toolkit.

It renders 480x480 Gymnasium frames sequentially per environment, crops them, resizes them to 64x128
by bicubic interpolation and converts them to gray; stacks 4 frames (every second) in float32; runs
the student separately for action and value, in float32; recomputes the teacher and its KL in every
minibatch; and has anomaly detection on.

Prints seconds per env step of the whole loop, of the rollout and of the update, after one iteration
for warm-up.

Usage: python benchmarks/rivals/original_loop.py FILTERS NUM_ENVS NUM_STEPS BATCH EPOCHS THREADS
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("MUJOCO_GL", "egl")

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

_CAMERA = {
    "distance": 2.5,
    "lookat": np.array([0.0, 0.2, 0.0]),
    "azimuth": 270,
    "elevation": -90,
}
_ACTIONS, _PROPRIO, _STATE = 7, 17, 23


class Residual(nn.Module):
    """IMPALA's residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(torch.relu(x))))


class Student(nn.Module):
    """A student with the encoder and heads of this project's."""

    def __init__(self, filters: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in zip([4, *filters], filters, strict=False):
            layers += [nn.Conv2d(i, o, 3, padding=1), nn.MaxPool2d(3, 2, 1)]
            layers += [Residual(o), Residual(o)]
        self.cnn = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.proprio = nn.Sequential(nn.Linear(_PROPRIO, 64), nn.SiLU())
        features = filters[-1] * 9 + 64
        self.actor = self._head(features, 2 * _ACTIONS)
        self.critic = self._head(features, 1)

    @staticmethod
    def _head(inputs: int, outputs: int) -> nn.Sequential:
        sizes = (nn.Linear(inputs, 128), nn.Linear(128, 128), nn.Linear(128, outputs))
        return nn.Sequential(sizes[0], nn.SiLU(), sizes[1], nn.SiLU(), sizes[2])

    def features(self, frames: Tensor, proprio: Tensor) -> Tensor:
        return torch.cat([self.cnn(frames), self.proprio(proprio)], -1)

    def distribution(self, frames: Tensor, proprio: Tensor) -> Normal:
        mean, log_std = self.actor(self.features(frames, proprio)).chunk(2, -1)
        return Normal(mean, log_std.clamp(-4, 0).exp())

    def value(self, frames: Tensor, proprio: Tensor) -> Tensor:
        return self.critic(self.features(frames, proprio)).squeeze(-1)


class OriginalLoop:
    """Collects rollouts and updates on them, as the original."""

    def __init__(
        self, filters: list[int], n_envs: int, n_steps: int, batch: int, epochs: int
    ) -> None:
        def make() -> gym.Env:
            return gym.make("Pusher-v5", render_mode="rgb_array", default_camera_config=_CAMERA)

        self.envs = gym.vector.SyncVectorEnv([make] * n_envs)
        self.n_steps, self.batch, self.epochs = n_steps, batch, epochs
        self.student = Student(filters)
        self.teacher = nn.Sequential(
            *(nn.Linear(_STATE, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
            nn.Linear(256, 2 * _ACTIONS),
        )
        self.optimizer = torch.optim.Adam(self.student.parameters(), 3e-4)
        self.obs, _ = self.envs.reset(seed=0)
        self.history = self._screens().repeat(1, 8, 1, 1)

    def iterate(self) -> tuple[float, float]:
        """Return the seconds of a rollout, and of the update on it."""
        started = time.perf_counter()
        rollout = self._collect()
        collected = time.perf_counter()
        self._update(rollout)
        return collected - started, time.perf_counter() - collected

    def _screens(self) -> Tensor:
        frames = np.stack([np.asarray(env.render()) for env in self.envs.envs])  # (N, 480, 480, 3)
        x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255  # (N, 3, 480, 480)
        x = F.interpolate(x[:, :, 70:230, 70:410], (64, 128), mode="bicubic", antialias=True)
        return (0.2989 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]  # (N, 1, 64, 128)

    @torch.inference_mode()
    def _collect(self) -> dict[str, Tensor]:
        steps: dict[str, list[Tensor]] = {}
        for _ in range(self.n_steps):
            frames = self.history[:, 1::2]
            state = torch.as_tensor(self.obs, dtype=torch.float32)
            proprio = state[:, :_PROPRIO]
            dist = self.student.distribution(frames, proprio)
            raw = dist.sample()
            value = self.student.value(frames, proprio)
            self.obs, reward, *_ = self.envs.step((torch.tanh(raw) * 2).numpy())
            rewards = torch.as_tensor(reward, dtype=torch.float32)
            self.history = torch.cat([self.history[:, 1:], self._screens()], 1)
            kept = (frames, state, raw, dist.log_prob(raw).sum(-1), value, rewards)
            for name, tensor in zip(("x", "s", "u", "lp", "v", "r"), kept, strict=True):
                steps.setdefault(name, []).append(tensor)
        return {name: torch.cat(tensors) for name, tensors in steps.items()}

    def _update(self, rollout: dict[str, Tensor]) -> None:
        f = {name: tensor.clone() for name, tensor in rollout.items()}
        advantages = f["r"] - f["v"]
        for _ in range(self.epochs):
            for idx in torch.randperm(len(advantages)).split(self.batch):
                proprio = f["s"][idx, :_PROPRIO]
                dist = self.student.distribution(f["x"][idx], proprio)
                ratio = (dist.log_prob(f["u"][idx]).sum(-1) - f["lp"][idx]).exp()
                value = self.student.value(f["x"][idx], proprio)
                a = advantages[idx]
                pg = torch.max(-a * ratio, -a * ratio.clamp(0.8, 1.2)).mean()
                with torch.no_grad():
                    mean, log_std = self.teacher(f["s"][idx]).chunk(2, -1)
                teacher = Normal(mean, log_std.clamp(-4, 0).exp())
                kl = kl_divergence(teacher, dist).sum(-1)
                loss = pg + 0.5 * (value - f["r"][idx]).pow(2).mean()
                loss = loss + 5 * (kl * ratio.clamp(min=0.8)).mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.student.parameters(), 0.5)
                self.optimizer.step()


def main() -> None:
    """Print the seconds per env step."""
    filters = [int(f) for f in sys.argv[1].split(",")]
    n_envs, n_steps, batch, epochs, threads = map(int, sys.argv[2:7])
    torch.set_num_threads(threads)
    torch.autograd.set_detect_anomaly(True)
    loop = OriginalLoop(filters, n_envs, n_steps, batch, epochs)
    loop.iterate()
    rollout, update = loop.iterate()
    env_steps = n_envs * n_steps
    print((rollout + update) / env_steps, rollout / env_steps, update / env_steps)


if __name__ == "__main__":
    main()
