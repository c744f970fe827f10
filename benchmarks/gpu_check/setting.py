"""What every part of the check is given, and the small trainings that they share."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD, PPDConfig
from benchmarks.gpu_check.outcome import Findings
from Enviroment.make import make_env
from Enviroment.tasks import Task, get_task
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

MODES = ("ImpaalaSmall", "ImpaalaMid", "ImpaalaBig")
N_CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Setting:
    """Where a part computes, and how much."""

    device: torch.device
    quick: bool  # the smallest sizes, to try the script itself
    seconds: float  # that the part has
    work: Path  # a folder for what it writes
    findings: Findings

    @property
    def is_cuda(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device.type == "cuda"

    @property
    def n_envs(self) -> int:
        """Environments of a training that is only to be checked."""
        return 2 if self.quick else 18

    def task(self) -> Task:
        """Pusher, small where it is to be quick."""
        size = (16, 16) if self.quick else (64, 64)
        return dataclasses.replace(get_task("Pusher"), frame_size=size)

    def env(self, n_envs: int | None = None) -> VecEnv:
        """Its environments, as the command line has them; the caller closes them."""
        n_envs = n_envs or self.n_envs
        env = make_env(self.task(), n_envs, 0, stagger=True)
        return VecNormalize(env, norm_obs=False, gamma=PPDConfig.gamma)

    def teacher(self, device: torch.device) -> Teacher:
        """The teacher that is shipped."""
        return Teacher.load(default_teacher("Pusher"), device, min_std=0.2)

    def config(self, teacher: Teacher, precision: str, mode: str = MODES[0]) -> StudentConfig:
        """The student's network."""
        family = teacher.description.family
        return StudentConfig(mode=mode, family=family, precision=precision, init_log_std=-1.6)

    def model(
        self,
        env: VecEnv,
        device: torch.device,
        mode: str = MODES[0],
        precision: str = "float32",
        algorithm: type[OnPolicyStudent] = PPD,
        **settings: Any,
    ) -> OnPolicyStudent:
        """An algorithm on that device, its settings those of the command line but as said."""
        teacher = self.teacher(device)
        config = self.config(teacher, precision, mode)
        kwargs = {"config": config, "optimizer_kwargs": {"eps": 1e-5, "fused": True}}
        if algorithm is PPD:
            settings = {"detach_ratio": True, "learning_rate": 1e-3, **settings}
        model = algorithm(
            StudentPolicy,  # pyright: ignore[reportCallIssue]
            env,
            teacher,
            policy_kwargs=kwargs,
            seed=0,
            device=device,
            **settings,
        )
        env.seed(0)  # SB3 has just seeded it with the model's seed
        return model


class Recorder(KVWriter):
    """Keeps every logging point."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        self.points.append({k: float(v) for k, v in key_values.items()})

    def close(self) -> None:
        """Nothing is open."""


def recorded(model: Any) -> Recorder:
    """A recorder of what the model logs from now on."""
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    return recorder


def wait(device: torch.device) -> None:
    """Until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
