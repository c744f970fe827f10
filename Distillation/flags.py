"""The flags of every task's script, and what they resolve to."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule

from Algorithm.augmentation import AugmentationConfig
from Algorithm.cloning_config import CloningConfig
from Algorithm.critic_warmup import check_warmup
from Algorithm.dagger import DaggerConfig
from Algorithm.distill import DistillConfig
from Algorithm.lambda_schedule import LambdaSchedule
from Algorithm.ppd import PPDConfig
from Algorithm.replay import ReplayConfig
from Distillation.cloned_run import check_kept
from Distillation.flag_file import read_flag_file
from Distillation.flag_groups import (
    METHODS,
    ON_POLICY,
    CloningFlags,
    MethodFlags,
    RunFlags,
    StudentFlags,
    TeacherFlags,
    TrainingFlags,
    flag_values,
)
from Distillation.flag_tokens import said_in_a_line, tokens, typed
from Distillation.flag_uses import check_uses
from Distillation.suite_defaults import check_task, suite_defaults
from Enviroment import seeds
from Enviroment.errors import UserError
from Enviroment.tasks import Task

# Measured on Pusher, where the paper's constant 3e-4 was slower.
_PPD_LEARNING_RATE = 1e-3
_DISTILL_LEARNING_RATE = 2e-3
_FINAL_SHARE = 0.05  # of the learning rate, at the end

_DESCRIPTIONS = {
    "gymnasium": (
        "Turn a {} teacher that sees the simulator's state into a student that sees rendered "
        "frames and its own joints."
    ),
    "envpool": "Turn a {} teacher into a student that sees the same frames.",
}


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
        self._check_counts()
        self._check_together()
        if any(getattr(self.method, name) for name in ON_POLICY):
            self._check_rollouts()
        self.student.check_size()
        seeds.training(self.training.run_index)  # raises for an index that has no seeds
        self.frame_size  # noqa: B018 - raises if it is no size
        for configuration in (self.ppd, self.clone, self.dagger, self.replay, self.augmentation):
            configuration()  # each checks itself
        self.lambda_schedule()

    def _check_counts(self) -> None:
        """Refuses counts below 1, and amounts that are none."""
        training, run, teaching = self.training, self.run, self.teaching
        counts = ("num_envs", "num_epochs", "batch_size", "total_timesteps", "num_steps")
        for group, names in (
            (training, (*counts, "optimization_steps")),
            (self.cloning, ("num_data",)),
            (run, ("eval_every", "eval_episodes", "final_episodes", "threads")),
            (run, ("checkpoint_every", "keep")),
        ):
            for name in names:
                if (value := getattr(group, name)) is not None and value < 1:
                    raise UserError(f"--{name} {value} must be at least 1.")
        if not 0 < run.checkpoint_minutes < math.inf:
            raise UserError(f"--checkpoint_minutes {run.checkpoint_minutes} must be above 0.")
        for group, names in (
            (teaching, ("min_teacher_std", "corrupt_teacher")),
            (training, ("final_learning_rate",)),
        ):
            for name in names:
                if (value := getattr(group, name)) is not None and not 0 <= value < math.inf:
                    raise UserError(f"--{name} {value} must be a number and not below 0.")

    def _check_together(self) -> None:
        """Refuses flags that contradict each other."""
        training = self.training
        if self.run.resume and self.run.overwrite:
            raise UserError("--resume keeps the run and --overwrite deletes it: give only one.")
        if self.student.blind and self.student.mode == "State":
            raise UserError("--blind zeroes the frames, and --mode State sees none.")
        if (
            training.learning_rate_schedule == "constant"
            and training.final_learning_rate is not None
        ):
            raise UserError(
                "--final_learning_rate is where --learning_rate_schedule linear ends; the "
                "constant one has none. Give only one of them."
            )
        if training.init_from is not None and self.student.size:
            raise UserError("--init_from has a network already: leave out --size.")

    def _check_rollouts(self) -> None:
        """Refuses a budget that is none, of a method that learns from rollouts."""
        if self.total_timesteps < self.rollout:
            raise UserError(
                f"--total_timesteps {self.total_timesteps} is below one rollout of "
                f"{self.training.num_envs} environments x {self.num_steps} steps = {self.rollout}. "
                "Raise it, or lower --num_envs or --num_steps."
            )
        check_warmup(self.training.critic_warmup, self.rollout, self.total_timesteps)

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
        return self.run.eval_every or self._interval

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints: env steps, or in cloning gradient steps."""
        return self.run.checkpoint_every or self._interval

    @property
    def _interval(self) -> int:
        cloning = self.method.BC_phase or self.method.Dagger_phase
        return 1_000 if cloning else 25_000

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
        """From `first` to the final one, or staying, along the progress that remains (1 to 0)."""
        final = self.training.final_learning_rate
        if self.training.learning_rate_schedule == "constant":
            final = first
        final = _FINAL_SHARE * first if final is None else final
        return LinearSchedule(first, final, end_fraction=1.0)

    def lambda_schedule(self) -> LambdaSchedule:
        """What PPD's lambda follows. It keeps the skill that it was told: one for each run."""
        t = self.training
        return LambdaSchedule(t.PPD_parameter, t.final_lambda, t.lambda_schedule)

    def augmentation(self) -> AugmentationConfig:
        """What updates change of the student's observations."""
        return AugmentationConfig(self.training.random_shift, self.training.modality_dropout)

    def distill(self) -> DistillConfig:
        """The configuration of the two distillations."""
        t = self.training
        return DistillConfig(
            n_steps=self.num_steps,
            learning_rate=_given(t.learning_rate, _DISTILL_LEARNING_RATE),
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
            learning_rate=_given(t.learning_rate, CloningConfig.learning_rate),
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
            learning_rate=_given(t.learning_rate, _PPD_LEARNING_RATE),
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
        parts = [s.mode] if not s.size else [s.mode, s.size] if s.mode == "State" else [s.size]
        if s.mode != "State":
            parts.append("blind" if s.blind else s.frame_size)
        if self.method.PPD:
            parts.append(f"lambda{t.PPD_parameter:g}")
            if t.lambda_schedule != "constant":
                parts.append(f"{t.lambda_schedule}{t.final_lambda:g}")
        if self.method.BC_phase:
            parts += [self.cloning.loss_type, Path(self.cloning.dataset).name]
        if self.teaching.corrupt_teacher:
            parts.append(f"corrupt{self.teaching.corrupt_teacher:g}")
        if t.init_from is not None:
            parts.append("init")
        return "_".join([*parts, f"run{t.run_index}"])


def parse(task: Task, arguments: Sequence[str]) -> Flags:
    """The flags of a command line, over those of its `--config` file, over the defaults.

    Raises:
        UserError: the file cannot be read, names flags that do not exist or gives them values
            that they do not take; values contradict each other; or flags would change nothing.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    file = _config_file(arguments)
    values = {} if file is None else read_flag_file(file, flag_values(_Unchecked()))
    named = typed(arguments)
    of_file = {name for name in METHODS if values.get(name) is True and f"no_{name}" not in named}
    defaults = begun = _defaults(task, of_file | named.intersection(METHODS))
    if file is not None:
        try:
            words = tokens(values, flag_values(defaults))
            begun = said_in_a_line(lambda: _read(task, words, defaults))
        except UserError as error:
            raise UserError(f"--config {file}: {error}") from error
    # What a file has switched, the command line can switch back.
    parsed = _read(task, arguments, begun, both_sides=file is not None)
    check_uses(parsed, defaults)  # first: a number that is not used cannot be a wrong one
    flags = Flags(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(Flags)})
    check_task(task, flags.method, flags.student)
    given = {name.removeprefix("no_") for name in named}
    given |= {name for name, value in values.items() if value is not None}
    check_kept(flags.cloning.folder_Dagger, task.name, flag_values(flags), given)
    return flags


def default_values(task: Task, method: str) -> dict[str, Any]:
    """Every flag's default for a task and a method."""
    return flag_values(_defaults(task, (method,)))


class _Unchecked(Flags):
    """Flags that the command line may still change, so that they need not fit each other yet."""

    def __post_init__(self) -> None:
        pass


def _defaults(task: Task, methods: Collection[str]) -> Flags:
    """As settings of the paper differ between methods, those of the methods asked for."""
    h, w = task.frame_size
    groups = {"student": StudentFlags(frame_size=f"{h}x{w}"), **suite_defaults(task, methods)}
    return _Unchecked(**groups)


def _config_file(arguments: Sequence[str]) -> Path | None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    return first.parse_known_args(arguments)[0].config


def _read(
    task: Task, arguments: Sequence[str], defaults: Flags, *, both_sides: bool = False
) -> Flags:
    """Flags as tyro reads them, unchecked as `defaults` are.

    Args:
        both_sides: of each switch there are `--video` and `--no_video`, and not only the one that
            is not its default.
    """
    switches = () if both_sides else (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(
        Flags,
        args=arguments,
        default=defaults,
        prog=f"Distillation/{task.script}",
        description=_DESCRIPTIONS[task.simulator].format(task.name),
        config=(tyro.conf.OmitArgPrefixes, *switches),
        use_underscores=True,
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
