"""Settings of the check's parts, and the small trainings that they share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv

from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD, PPDConfig
from Algorithm.reward_normaliser import RewardNormaliser
from benchmarks.gpu_check.outcome import Findings
from Common.cores import available_cores
from Enviroment.make import make_env
from Enviroment.tasks import Task, get_task
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

MODES = ("ImpaalaSmall", "ImpaalaMid", "ImpaalaBig")
N_CORES = available_cores()


@dataclass(frozen=True)
class Setting:
    """Device, size and output of a part."""

    device: torch.device
    quick: bool  # the smallest sizes, to test the script itself
    seconds: float  # time limit of the part
    work: Path  # folder of its files
    findings: Findings

    @property
    def is_cuda(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device.type == "cuda"

    @property
    def n_envs(self) -> int:
        """Number of environments of trainings that are checked, not timed."""
        return 2 if self.quick else 18

    def task(self) -> Task:
        """Return Pusher, with small frames if `quick`."""
        size = (16, 16) if self.quick else (64, 64)
        return dataclasses.replace(get_task("Pusher"), frame_size=size)

    def env(self, n_envs: int | None = None) -> VecEnv:
        """Make environments as the command line does; the caller closes them."""
        n_envs = n_envs or self.n_envs
        env = make_env(self.task(), n_envs, 0, stagger=True)
        return RewardNormaliser(env, norm_reward=True, gamma=PPDConfig.gamma)

    def teacher(self, device: torch.device) -> Teacher:
        """Return the shipped teacher."""
        return Teacher.load(default_teacher("Pusher"), device, min_std=0.2)

    def config(self, teacher: Teacher, precision: str, mode: str = MODES[0]) -> StudentConfig:
        """Return the configuration of the student's network."""
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
        """Return an algorithm on a device, with defaults of the command line except `settings`."""
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
        env.seed(0)  # SB3 seeded it with the model's seed
        return model


class Recorder(KVWriter):
    """Records every logging point."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        self.points.append({k: float(v) for k, v in key_values.items()})

    def close(self) -> None:
        """Do nothing."""


def recorded(model: Any) -> Recorder:
    """Return a recorder of all further logging points of the model."""
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    return recorder


def wait(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
