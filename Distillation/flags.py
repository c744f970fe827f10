"""The flags of every task's script, and what they resolve to."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

from Algorithm.ppd import PPDConfig
from Enviroment import seeds
from Enviroment.errors import UserError
from Enviroment.tasks import Task

Mode = Literal["State", "ImpaalaSmall", "ImpaalaMid", "ImpaalaBig"]


@dataclass(frozen=True)
class MethodFlags:
    """Which method; give exactly one."""

    PPD: bool = False  # Proximal Policy Distillation: PPO plus a KL to the teacher
    PPO: bool = False  # the same student by PPO alone, without a teacher

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
    critic_on_state: bool = False  # the critic sees the state during training
    blind: bool = False  # zero the frames, in training and evaluation: the baseline of skill


@dataclass(frozen=True)
class TrainingFlags:
    """How it learns."""

    total_timesteps: int = 300_000  # env steps, all environments together
    num_envs: int = 18  # environments
    num_steps: int = 64  # env steps a rollout, each environment
    num_epochs: int = 4  # passes over a rollout
    batch_size: int = 256  # samples a minibatch
    learning_rate: float = 3e-4
    PPD_parameter: float = 5.0  # lambda, the weight of the KL to the teacher
    kl_direction: Literal["forward", "reverse"] = "forward"  # forward: KL(teacher || student)
    detach_ratio: bool = False  # no gradient through the KL's importance weight
    gamma: float = 0.999  # discount
    gae_lambda: float = 0.9
    clip_range: float = 0.2  # of the probability ratio
    ent_coef: float = 0.0  # weight of the entropy bonus
    run_index: int = 0  # 0 to 5: which seeds


@dataclass(frozen=True)
class TeacherFlags:
    """Who teaches."""

    teacher: Path | None = None  # bundle; default: Results/<task>/teachers/sac
    min_teacher_std: float = 0.1  # floor of its deviation: SAC's can vanish, and the KL explode


@dataclass(frozen=True)
class RunFlags:
    """Where it runs, and what it leaves behind."""

    output: Path | None = None  # run folder; default: Results/<task>/<method>/<run name>
    overwrite: bool = False  # delete the run that the folder holds
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    threads: int | None = None  # of torch and of the environments; default: one a core
    wandb: Literal["offline", "online", "disabled"] = "offline"
    eval_every: int = 25_000  # env steps between evaluations
    eval_episodes: int = 20  # episodes an evaluation, on training seeds (ID) and others (OD) each
    final_episodes: int = 50  # evaluation episodes at the end, on seeds that chose nothing
    video: bool = True  # record an episode of the best student at the end
    config: Path | None = None  # YAML or JSON file of flags; the command line goes before it


@dataclass(frozen=True)
class Flags:
    """All of them, as groups."""

    method: MethodFlags = field(default_factory=MethodFlags)
    student: StudentFlags = field(default_factory=StudentFlags)
    training: TrainingFlags = field(default_factory=TrainingFlags)
    teaching: TeacherFlags = field(default_factory=TeacherFlags)
    run: RunFlags = field(default_factory=RunFlags)

    def __post_init__(self) -> None:
        training, run = self.training, self.run
        rollout = training.num_envs * training.num_steps
        for name in ("num_envs", "num_steps", "num_epochs", "batch_size"):
            if getattr(training, name) < 1:
                raise UserError(f"--{name} {getattr(training, name)} must be at least 1.")
        if training.total_timesteps < rollout:
            raise UserError(
                f"--total_timesteps {training.total_timesteps} is below one rollout of "
                f"{training.num_envs} environments x {training.num_steps} steps = {rollout}. "
                "Raise it, or lower --num_envs or --num_steps."
            )
        for name in ("eval_every", "eval_episodes", "final_episodes"):
            if getattr(run, name) < 1:
                raise UserError(f"--{name} {getattr(run, name)} must be at least 1.")
        if run.threads is not None and run.threads < 1:
            raise UserError(f"--threads {run.threads} must be at least 1.")
        if self.teaching.min_teacher_std < 0:
            raise UserError(f"--min_teacher_std {self.teaching.min_teacher_std} is below 0.")
        if self.student.blind and self.student.mode == "State":
            raise UserError("--blind zeroes the frames, and --mode State sees none.")
        seeds.training(training.run_index)  # raises for an index that has no seeds
        self.frame_size  # noqa: B018 - raises if it is no size
        self.ppd()

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

    def ppd(self) -> PPDConfig:
        """The algorithm's configuration; PPO is PPD at lambda 0."""
        t = self.training
        return PPDConfig(
            distill_lambda=0.0 if self.method.PPO else t.PPD_parameter,
            n_steps=t.num_steps,
            batch_size=t.batch_size,
            n_epochs=t.num_epochs,
            learning_rate=t.learning_rate,
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
        if not self.method.PPO:
            parts.append(f"lambda{t.PPD_parameter:g}")
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
        paths = {n: Path(v) for n, v in given.items() if n in ("teacher", "output") and v}
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


_GROUPS = (MethodFlags, StudentFlags, TrainingFlags, TeacherFlags, RunFlags)
