"""Settings of the teachers: one frozen dataclass an algorithm, defaults for each task."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, TypeVar

from Common.errors import UserError
from Enviroment import seeds
from Models.networks.layers import activation_class
from Train_Teacher.policy_gradient_settings import (
    ActorCriticTeacherConfig,
    ReinforceTeacherConfig,
)

Algo = Literal["sac", "ppo", "reinforce", "actor_critic"]


@dataclass(frozen=True)
class PPOTeacherConfig:
    """SB3's PPO. The defaults suit the task: of Pusher and Reacher chosen on Pusher's validation
    seeds, of the suites the PPD paper's.
    """

    total_timesteps: int = 8_000_000  # env steps, all environments together
    num_envs: int = 32  # training environments
    n_steps: int = 400  # env steps a rollout, each environment
    batch_size: int = 1600  # env steps a minibatch
    n_epochs: int = 10  # passes over a rollout
    gamma: float = 0.99  # discount
    gae_lambda: float = 0.95
    clip_range: float = 0.2  # of the probability ratio
    ent_coef: float = 0.0  # weight of the entropy bonus
    learning_rate: float = 6e-4  # at the start; falls linearly
    final_learning_rate: float = 2e-5  # at the end
    # Units of the hidden layers, actor and critic each; on frames, of those after the CNN.
    net_arch: tuple[int, ...] = (256, 256)
    activation: str = "ELU"  # a class of torch.nn
    # On frames: impala is the paper's, for actor and critic each; nature SB3's own, shared by both
    # and several times as fast.
    cnn: Literal["impala", "nature"] = "impala"
    norm_reward: bool = True  # divide rewards by the running std of the discounted return

    def __post_init__(self) -> None:
        _check(self)
        _check_counts(self, n_steps=1, n_epochs=1, batch_size=2)  # of one, SB3 cannot normalise
        if not 0.0 <= self.gae_lambda <= 1.0:
            raise UserError(f"--gae_lambda {self.gae_lambda} must lie in [0, 1].")
        if not 0.0 < self.clip_range < math.inf:
            raise UserError(f"--clip_range {self.clip_range} must be above 0.")
        if not 0.0 <= self.ent_coef < math.inf:
            raise UserError(f"--ent_coef {self.ent_coef} must be at least 0.")
        if (self.num_envs * self.n_steps) % self.batch_size:
            raise UserError(
                f"num_envs * n_steps = {self.num_envs} * {self.n_steps} must be a multiple of "
                f"batch_size = {self.batch_size}: a partial minibatch would weigh its samples more."
            )
        if self.total_timesteps < self.num_envs * self.n_steps:
            raise UserError(
                f"--total_timesteps {self.total_timesteps} is below one rollout of "
                f"{self.num_envs} environments * {self.n_steps} steps = "
                f"{self.num_envs * self.n_steps}. Raise it, or lower --num_envs or --n_steps."
            )


@dataclass(frozen=True)
class SACTeacherConfig:
    """SB3's SAC, with one gradient step for two environment steps.

    On a processor the gradient step is what costs (9 ms against 0.1 ms), more by its many small
    operations than by its arithmetic. A low first entropy coefficient, with rewards normalised,
    left the object where it was: SAC's own, learned from 1 down, found how to push it.
    """

    total_timesteps: int = 2_000_000  # env steps, all environments together
    num_envs: int = 16  # training environments
    gradient_steps: int = 8  # each time every environment has made one step
    batch_size: int = 256  # env steps
    buffer_size: int = 1_000_000  # env steps
    learning_starts: int = 10_000  # env steps with random actions before the first gradient step
    gamma: float = 0.98  # discount
    tau: float = 0.005  # share of the critic that its target takes over, each gradient step
    ent_coef: str = "auto"  # SB3's: a number, or auto_<first value> to have it learned
    learning_rate: float = 5e-4  # at the start; falls linearly
    final_learning_rate: float = 5e-5  # at the end
    net_arch: tuple[int, ...] = (128, 128)  # units of the hidden layers, actor and critics each
    activation: str = "ReLU"  # a class of torch.nn
    norm_reward: bool = False  # divide rewards by the running std of the discounted return

    def __post_init__(self) -> None:
        _check(self)
        _check_counts(self, gradient_steps=1, learning_starts=0)
        if not 0.0 < self.tau <= 1.0:
            raise UserError(f"--tau {self.tau} must lie in (0, 1].")
        if self.total_timesteps <= self.learning_starts:
            raise UserError(
                f"--total_timesteps {self.total_timesteps} ends before learning does start, after "
                f"--learning_starts {self.learning_starts} steps. Raise one or lower the other."
            )
        if self.buffer_size < max(self.num_envs, self.batch_size):
            raise UserError("--buffer_size must hold at least a batch and a step of every env.")
        _check_ent_coef(self.ent_coef)


SB3Config = PPOTeacherConfig | SACTeacherConfig
TeacherConfig = SB3Config | ReinforceTeacherConfig | ActorCriticTeacherConfig
SETTINGS: dict[Algo, type[TeacherConfig]] = {
    "sac": SACTeacherConfig,
    "ppo": PPOTeacherConfig,
    "reinforce": ReinforceTeacherConfig,
    "actor_critic": ActorCriticTeacherConfig,
}


def _check(config: SB3Config) -> None:
    """What holds for both of SB3's algorithms. Raises UserError."""
    _check_counts(config, total_timesteps=1, num_envs=1, batch_size=1)
    if not 0.0 <= config.gamma < 1.0:
        raise UserError(f"--gamma {config.gamma} must lie in [0, 1).")
    if not 0.0 <= config.final_learning_rate <= config.learning_rate < math.inf:
        raise UserError(
            f"--final_learning_rate {config.final_learning_rate} must lie between 0 and "
            f"--learning_rate {config.learning_rate}."
        )
    if not config.net_arch or min(config.net_arch) < 1:
        raise UserError("--net_arch needs at least one hidden layer of at least one unit.")
    activation_class(config.activation)


def _check_counts(config: SB3Config, **least: int) -> None:
    for name, smallest in least.items():
        if getattr(config, name) < smallest:
            raise UserError(f"--{name} {getattr(config, name)} must be at least {smallest}.")


def _check_ent_coef(value: str) -> None:
    """SB3 would fail with an AssertionError or a bare ValueError deep in its set-up."""
    try:
        positive = value == "auto" or 0.0 < float(value.removeprefix("auto_")) < math.inf
    except ValueError:
        positive = False
    if not positive:
        raise UserError(
            f"--ent_coef {value!r} must be a positive number, auto, or auto_<positive number>."
        )


_PPO = PPOTeacherConfig()
_SAC = SACTeacherConfig()
# A task that is not listed takes the defaults of the classes.
_TASK_SETTINGS: dict[tuple[str, Algo], TeacherConfig] = {
    ("Reacher", "ppo"): replace(_PPO, total_timesteps=2_000_000),  # an easier task
    ("Reacher", "sac"): replace(_SAC, total_timesteps=300_000),
}


def default_settings(task: str, algo: Algo) -> TeacherConfig:
    """What `Train_Teacher/<task>.py --algo <algo>` uses where no flag says otherwise."""
    return _TASK_SETTINGS.get((task, algo)) or SETTINGS[algo]()


Settings = TypeVar("Settings", bound=TeacherConfig)


@dataclass(frozen=True)
class TeacherRun(Generic[Settings]):
    """What one command does: the settings, and how to run, watch and store them."""

    settings: Settings
    algo: Algo = "sac"
    run_index: int = 0  # 0 to 5: which seeds, for the networks and for the training episodes
    device: str = "auto"  # auto, cpu, cuda or cuda:N; the processor is faster at this size
    threads: int = 1  # of torch; more of them only get in each other's way at this size
    output: Path | None = None  # run folder; by default Results/<Task>/Teacher/<ALGO>_<run_index>
    wandb: Literal["offline", "online", "disabled"] = "offline"
    eval_every: int = 50_000  # env steps between evaluations; a checkpoint follows each
    eval_episodes: int = 50  # validation episodes an evaluation; the best one is shipped
    baseline_episodes: int = 100  # of teacher, random and do-nothing, written into the bundle
    video: bool = True  # record an evaluation episode at the end
    resume: bool = False  # go on from the newest checkpoint of the run folder
    overwrite: bool = False  # delete the run that the run folder holds

    def __post_init__(self) -> None:
        for name in ("threads", "eval_every", "eval_episodes", "baseline_episodes"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} must be at least 1.")
        if self.resume and self.overwrite:
            raise UserError("--resume keeps the run and --overwrite deletes it: give only one.")
        seeds.model(self.run_index)  # raises for an index that has no seeds
