"""The flags of every task's script, and what they resolve to."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule

from Algorithm.cloning_config import CloningConfig
from Algorithm.dagger import DaggerConfig
from Algorithm.distill import DistillConfig
from Algorithm.ppd import PPDConfig
from Algorithm.replay import ReplayConfig
from Enviroment import seeds
from Enviroment.errors import UserError
from Enviroment.tasks import Task

# Measured on Pusher, where the paper's constant 3e-4 was slower.
_PPD_LEARNING_RATE = 1e-3
_FINAL_SHARE = 0.05  # of the learning rate, at the end

Mode = Literal["State", "ImpaalaSmall", "ImpaalaMid", "ImpaalaBig"]


@dataclass(frozen=True)
class MethodFlags:
    """Which method; give exactly one."""

    PPD: bool = False  # Proximal Policy Distillation: PPO plus a KL to the teacher
    Sdistillation: bool = False  # student-distill: the student acts, and regresses to the teacher
    Tdistillation: bool = False  # teacher-distill: the same where the teacher acts
    PPO: bool = False  # the same student by PPO alone, without a teacher
    C_data: bool = False  # no student: collect a dataset of what the teacher sees and does
    BC_phase: bool = False  # behavioural cloning from a dataset
    Dagger_phase: bool = False  # DAgger, from a BC run, a dataset or nothing

    @property
    def name(self) -> str:
        """Raises UserError unless exactly one method is given."""
        chosen = [name for name, given in dataclasses.asdict(self).items() if given]
        if len(chosen) != 1:
            methods = ", ".join(f"--{f.name}" for f in dataclasses.fields(self))
            given = " and ".join(f"--{name}" for name in chosen) or "none"
            raise UserError(f"Give exactly one method of {methods}; given: {given}.")
        return chosen[0]


@dataclass(frozen=True)
class StudentFlags:
    """What the student sees, and with what network."""

    mode: Mode = "State"  # the network: an MLP on the state, or an IMPALA-CNN on frames
    frame_size: str = "64x64"  # pixels, height x width
    pooling: int = 3  # side of the grid that the CNN's features are averaged to
    init_log_std: float = -1.6  # of its actions, before the tanh of a SAC teacher's student
    critic_on_state: bool = False  # the critic sees the state during training
    blind: bool = False  # zero the frames, in training and evaluation: the baseline of skill


@dataclass(frozen=True)
class TrainingFlags:
    """How it learns."""

    total_timesteps: int = 350_000  # env steps, all environments together
    optimization_steps: int | None = None  # gradient steps, as the budget instead of env steps
    num_envs: int = 18  # environments
    num_steps: int | None = None  # env steps a rollout, each; default 64, in the distillations 5
    num_epochs: int = 4  # passes over a rollout; the distillations make one
    batch_size: int | None = None  # samples; default 256, in cloning 128; distillations take all
    learning_rate: float | None = None  # default 1e-3; in the distillations 3e-4
    final_learning_rate: float | None = None  # falls linearly to this; default 5% of the first
    PPD_parameter: float = 5.0  # lambda, the weight of the KL to the teacher
    kl_direction: Literal["forward", "reverse"] = "forward"  # forward: KL(teacher || student)
    detach_ratio: bool = True  # off: a gradient through the KL's importance weight (paper)
    gamma: float = 0.999  # discount
    gae_lambda: float = 0.9
    clip_range: float = 0.2  # of the probability ratio
    ent_coef: float = 0.0  # weight of the entropy bonus
    run_index: int = 0  # 0 to 5: which seeds


@dataclass(frozen=True)
class CloningFlags:
    """Datasets, behavioural cloning and DAgger. Gradient steps are --optimization_steps."""

    num_data: int = 100_000  # env steps to collect
    behaviour_noise: float = 0.0  # on what is done while collecting, in half ranges of an action
    dataset: str = "100k"  # 5k, 10k, 50k, 100k, any count of env steps, or a folder; DAgger: none
    collect_missing: bool = False  # collect the dataset if it is not there
    loss_type: Literal["NLL", "KL", "MSE"] = "NLL"  # to the teacher's action or distribution
    alpha: float = 0.0  # how strongly samples of a large loss are preferred; 0: uniform
    mode_alpha: Literal["constant", "linear", "dynamic_mean", "dynamic_max"] = "constant"
    folder_Dagger: Path | None = None  # the BC run that DAgger goes on from
    rounds: int = 5  # of DAgger
    round_env_steps: int = 3_600  # env steps a round; best whole episodes of every environment
    round_gradient_steps: int = 1_000  # gradient steps a round
    beta_schedule: Literal["zero", "constant", "linear", "exponential"] = "zero"  # teacher's share


@dataclass(frozen=True)
class TeacherFlags:
    """Who teaches."""

    teacher: Path | None = None  # bundle; default: Results/<task>/teachers/sac
    min_teacher_std: float = 0.2  # floor of its deviation: SAC's can vanish, and the KL explode


@dataclass(frozen=True)
class RunFlags:
    """Where it runs, and what it leaves behind."""

    output: Path | None = None  # run folder; default: Results/<task>/<method>/<run name>
    overwrite: bool = False  # delete the run that the folder holds
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    threads: int | None = None  # of torch and of the environments; default: one a core
    wandb: Literal["offline", "online", "disabled"] = "offline"
    resume: bool = False  # go on with the dataset that --C_data had begun
    eval_every: int | None = None  # default 25000 env steps; in cloning 1000 gradient steps
    eval_episodes: int = 20  # episodes an evaluation, on training seeds (ID) and others (OD) each
    final_episodes: int = 50  # evaluation episodes at the end, on seeds that chose nothing
    video: bool = True  # off: no episode is recorded at the end
    config: Path | None = None  # YAML or JSON file of flags; the command line goes before it


@dataclass(frozen=True)
class Flags:
    """All of them, as groups."""

    method: MethodFlags = field(default_factory=MethodFlags)
    student: StudentFlags = field(default_factory=StudentFlags)
    training: TrainingFlags = field(default_factory=TrainingFlags)
    cloning: CloningFlags = field(default_factory=CloningFlags)
    teaching: TeacherFlags = field(default_factory=TeacherFlags)
    run: RunFlags = field(default_factory=RunFlags)

    def __post_init__(self) -> None:
        training, run = self.training, self.run
        counts = ("num_envs", "num_epochs", "batch_size", "total_timesteps", "num_steps")
        for group, names in (
            (training, (*counts, "optimization_steps")),
            (self.cloning, ("num_data",)),
            (run, ("eval_every", "eval_episodes", "final_episodes", "threads")),
        ):
            for name in names:
                if (value := getattr(group, name)) is not None and value < 1:
                    raise UserError(f"--{name} {value} must be at least 1.")
        if run.resume and not self.method.C_data:
            raise UserError("--resume goes on with --C_data only; other runs start anew.")
        if self.total_timesteps < self.rollout:
            raise UserError(
                f"--total_timesteps {self.total_timesteps} is below one rollout of "
                f"{training.num_envs} environments x {self.num_steps} steps = {self.rollout}. "
                "Raise it, or lower --num_envs or --num_steps."
            )
        if self.teaching.min_teacher_std < 0:
            raise UserError(f"--min_teacher_std {self.teaching.min_teacher_std} is below 0.")
        if self.student.blind and self.student.mode == "State":
            raise UserError("--blind zeroes the frames, and --mode State sees none.")
        seeds.training(training.run_index)  # raises for an index that has no seeds
        self.frame_size  # noqa: B018 - raises if it is no size
        for configuration in (self.ppd, self.clone, self.dagger, self.replay):
            configuration()  # each checks itself

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", self.student.frame_size)
        if match is None:
            raise UserError(
                f"--frame_size {self.student.frame_size!r} is no size. Give HEIGHTxWIDTH in "
                "pixels, such as 64x128."
            )
        return int(match[1]), int(match[2])

    @property
    def only_distils(self) -> bool:
        """Whether the method is one of the two distillations."""
        return self.method.Sdistillation or self.method.Tdistillation

    @property
    def eval_every(self) -> int:
        """Steps between evaluations: env steps, or in cloning gradient steps."""
        cloning = self.method.BC_phase or self.method.Dagger_phase
        return self.run.eval_every or (1_000 if cloning else 25_000)

    @property
    def num_steps(self) -> int:
        """Env steps a rollout, each environment: the given ones, or the method's."""
        default = DistillConfig.n_steps if self.only_distils else PPDConfig.n_steps
        return default if self.training.num_steps is None else self.training.num_steps

    @property
    def rollout(self) -> int:
        """Env steps a rollout, all environments together."""
        return self.training.num_envs * self.num_steps

    @property
    def total_timesteps(self) -> int:
        """The budget in env steps; a budget in gradient steps is whole rollouts of them."""
        t = self.training
        if t.optimization_steps is None:
            return t.total_timesteps
        each = (
            1
            if self.only_distils
            else t.num_epochs * math.ceil(self.rollout / self.ppd().batch_size)
        )
        return math.ceil(t.optimization_steps / each) * self.rollout

    def learning_rate_schedule(self, first: float) -> Schedule:
        """Linearly from `first` to the final one, along the progress that remains (1 to 0)."""
        final = self.training.final_learning_rate
        final = _FINAL_SHARE * first if final is None else final
        return LinearSchedule(first, final, end_fraction=1.0)

    def distill(self) -> DistillConfig:
        """The configuration of the two distillations."""
        t = self.training
        return DistillConfig(
            n_steps=self.num_steps,
            learning_rate=t.learning_rate or DistillConfig.learning_rate,
            gamma=t.gamma,
            gae_lambda=t.gae_lambda,
            ent_coef=t.ent_coef,
            kl_direction=t.kl_direction,
        )

    def clone(self) -> CloningConfig:
        """The configuration of learning from labels."""
        t = self.training
        return CloningConfig(
            loss_type=self.cloning.loss_type,
            gradient_steps=t.optimization_steps or CloningConfig.gradient_steps,
            batch_size=t.batch_size or CloningConfig.batch_size,
            learning_rate=t.learning_rate or CloningConfig.learning_rate,
        )

    def dagger(self) -> DaggerConfig:
        """The configuration of DAgger's rounds."""
        c = self.cloning
        return DaggerConfig(
            rounds=c.rounds,
            env_steps=c.round_env_steps,
            gradient_steps=c.round_gradient_steps,
            beta_schedule=c.beta_schedule,
        )

    def replay(self) -> ReplayConfig:
        """Which samples cloning prefers."""
        return ReplayConfig(alpha=self.cloning.alpha, mode_alpha=self.cloning.mode_alpha)

    def ppd(self) -> PPDConfig:
        """The algorithm's configuration; PPO is PPD at lambda 0."""
        t = self.training
        return PPDConfig(
            distill_lambda=0.0 if self.method.PPO else t.PPD_parameter,
            n_steps=self.num_steps,
            batch_size=t.batch_size or PPDConfig.batch_size,
            n_epochs=t.num_epochs,
            learning_rate=t.learning_rate or _PPD_LEARNING_RATE,
            gamma=t.gamma,
            gae_lambda=t.gae_lambda,
            clip_range=t.clip_range,
            ent_coef=t.ent_coef,
            kl_direction=t.kl_direction,
            detach_ratio=t.detach_ratio,
        )

    def run_name(self) -> str:
        """A name that tells runs apart: what most often differs between them."""
        s, t = self.student, self.training
        parts = [s.mode]
        if s.mode != "State":
            parts.append("blind" if s.blind else s.frame_size)
        if self.method.PPD:
            parts.append(f"lambda{t.PPD_parameter:g}")
        if self.method.BC_phase:
            parts += [self.cloning.loss_type, Path(self.cloning.dataset).name]
        return "_".join([*parts, f"run{t.run_index}"])


def parse(task: Task, arguments: Sequence[str]) -> Flags:
    """The flags of a command line, over those of its `--config` file, over the defaults.

    Raises:
        UserError: the file cannot be read or names flags that do not exist; or values that
            contradict each other.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    known, _ = first.parse_known_args(arguments)
    h, w = task.frame_size
    defaults = Flags(student=StudentFlags(frame_size=f"{h}x{w}"))
    if known.config is not None:
        defaults = _with_file(defaults, known.config)
    return tyro.cli(
        Flags,
        args=arguments,
        default=defaults,
        prog=f"Distillation/{task.name}.py",
        description=(
            f"Turn a {task.name} teacher that sees the simulator's state into a student that "
            "sees rendered frames and its own joints."
        ),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        use_underscores=True,
    )


def _with_file(defaults: Flags, path: Path) -> Flags:
    values = _read_mapping(path)
    groups: dict[str, Any] = {}
    for group in dataclasses.fields(defaults):
        current = getattr(defaults, group.name)
        names = {f.name for f in dataclasses.fields(current)}
        given = {name: values.pop(name) for name in list(values) if name in names}
        paths = {n: Path(v) for n, v in given.items() if n in _PATHS and v}
        groups[group.name] = dataclasses.replace(current, **{**given, **paths})
    if values:
        raise UserError(f"{path} names what is no flag: {', '.join(map(_with_hint, values))}.")
    return dataclasses.replace(defaults, **groups)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is neither YAML nor JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"--config {path} must hold flags and their values, `mode: State`.")
    return values


def _with_hint(name: Any) -> str:
    flags = [f.name for group in _GROUPS for f in dataclasses.fields(group)]
    near = difflib.get_close_matches(str(name), flags, n=1)
    return f"{name} (did you mean {near[0]}?)" if near else str(name)


_GROUPS = (MethodFlags, StudentFlags, TrainingFlags, CloningFlags, TeacherFlags, RunFlags)
_PATHS = ("teacher", "output", "folder_Dagger")
