"""All flags of a task script, and the configurations that they resolve to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.replay import ReplayConfig
from Algorithm.method_registry import METHODS, Method, in_order
from Algorithm.on_policy.config import OnPolicyConfig, check_warmup
from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Algorithm.sequences import (
    SEQUENCE_LENGTH,
    SEQUENCES,
    check_sequences,
    check_uniform,
    check_whole_sequences,
)
from Common.device_name import check_device
from Common.errors import UserError
from Distillation.flags.groups import (
    CloningFlags,
    MethodFlags,
    RunFlags,
    StudentFlags,
    TeacherFlags,
    TrainingFlags,
    flag_methods,
    flag_values,
)
from Enviroment import seeds

# Settings of the algorithms whose flags have different names.
_FLAG_OF = {"n_steps": "num_steps", "n_epochs": "num_epochs", "distill_lambda": "PPD_parameter"}
_FINAL_SHARE = 0.05  # final learning rate, relative to the initial one


@dataclass(frozen=True)
class Flags:
    """All flags, by group."""

    method: MethodFlags = field(default_factory=MethodFlags)
    student: StudentFlags = field(default_factory=StudentFlags)
    training: TrainingFlags = field(default_factory=TrainingFlags)
    cloning: CloningFlags = field(default_factory=CloningFlags)
    teaching: TeacherFlags = field(default_factory=TeacherFlags)
    run: RunFlags = field(default_factory=RunFlags)

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_together()
        chosen = self._chosen
        if chosen is not None and chosen.family == "on_policy":
            self._check_rollouts()
        if chosen is not None and self.student.recurrent != "none":
            self._check_sequences(chosen)
        self.student.check_size()
        check_device(self.run.device)
        seeds.training(self.training.run_index)  # raises if the index has no seeds
        self.frame_size  # noqa: B018 - raises if invalid
        configurations = (self.clone, self.dagger, self.replay, self.augmentation)
        for configuration in configurations:
            configuration()  # raises if invalid
        self.lambda_schedule()

    def _check_counts(self) -> None:
        """Check counts and amounts."""
        training, run, teaching = self.training, self.run, self.teaching
        counts = ("num_envs", "num_epochs", "batch_size", "total_timesteps", "num_steps")
        for group, names in (
            (training, (*counts, "optimization_steps", "sequence_length")),
            (self.student, ("recurrent_units",)),
            (self.cloning, ("num_data",)),
            (run, ("eval_every", "eval_episodes", "final_episodes", "threads")),
            (run, ("checkpoint_every", "keep")),
        ):
            for name in names:
                if (value := getattr(group, name)) is not None and value < 1:
                    raise UserError(f"--{name} {value} must be at least 1.")
        if not 0 < run.checkpoint_minutes < math.inf:
            raise UserError(f"--checkpoint_minutes {run.checkpoint_minutes} must be above 0.")
        if training.until_skill is not None and not 0 < training.until_skill < math.inf:
            raise UserError(f"--until_skill {training.until_skill} must be above 0.")
        for group, names in (
            (teaching, ("min_teacher_std", "corrupt_teacher")),
            (training, ("final_learning_rate",)),
        ):
            for name in names:
                if (value := getattr(group, name)) is not None and not 0 <= value < math.inf:
                    raise UserError(f"--{name} {value} must be finite and at least 0.")

    def _check_together(self) -> None:
        """Check that flags do not contradict each other."""
        training = self.training
        if self.run.resume and self.run.overwrite:
            raise UserError("--resume keeps the run and --overwrite deletes it: give only one.")
        if self.student.blind and self.student.mode == "State":
            raise UserError("--blind zeroes the frames, and --mode State has none.")
        if (
            training.learning_rate_schedule == "constant"
            and training.final_learning_rate is not None
        ):
            raise UserError(
                "--final_learning_rate requires --learning_rate_schedule linear. Give only one of "
                "--final_learning_rate and --learning_rate_schedule constant."
            )
        if self.method.has_phase("BC_phase") and self.cloning.dataset == "none":
            raise UserError("--dataset none leaves --BC_phase nothing to clone. Leave out one.")
        if training.init_from is not None and self.student.size:
            raise UserError("--init_from sets the network: leave out --size.")

    def _check_rollouts(self) -> None:
        """Check the budget of a method that learns from rollouts."""
        if self.total_timesteps < self.rollout:
            raise UserError(
                f"--total_timesteps {self.total_timesteps} is below one rollout of "
                f"{self.training.num_envs} environments x {self.on_policy().n_steps} steps = "
                f"{self.rollout}. "
                "Raise it, or lower --num_envs or --num_steps."
            )
        check_warmup(self.training.critic_warmup, self.rollout, self.total_timesteps)

    def _check_sequences(self, chosen: Method) -> None:
        """Check that minibatches of a recurrent student consist of sequences."""
        length = self.training.sequence_length
        if chosen.family == "on_policy":
            config = self.on_policy()
            check_sequences(length, config.n_steps, config.batch_size)
        elif chosen.family == "cloning":
            check_whole_sequences(self.clone().batch_size, length)
            check_uniform(self.cloning.alpha)

    def check_inherited_memory(self, flag: str) -> None:
        """Raise UserError for a sequence length of a student that turns out not to be recurrent.

        Args:
            flag: the flag that names the student.
        """
        length = self.training.sequence_length
        if self.student.recurrent == "none" and length != SEQUENCE_LENGTH:
            raise UserError(f"{flag}: its student is not recurrent. Leave out --sequence_length.")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Return height and width in pixels."""
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", self.student.frame_size)
        if match is None:
            raise UserError(
                f"--frame_size {self.student.frame_size!r} is invalid. Give HEIGHTxWIDTH in "
                "pixels, such as 64x128."
            )
        return int(match[1]), int(match[2])

    @property
    def _chosen(self) -> Method | None:
        """Return the chosen method; None without a valid choice, which is refused later."""
        phases = in_order(self.method.given)
        return METHODS[phases[-1]] if phases else None

    @property
    def eval_every(self) -> int:
        """Return the interval of evaluations in env steps (cloning: gradient steps)."""
        return self.run.eval_every or self._interval

    @property
    def checkpoint_every(self) -> int:
        """Return the interval of checkpoints in env steps (cloning: gradient steps)."""
        return self.run.checkpoint_every or self._interval

    @property
    def _interval(self) -> int:
        chosen = self._chosen
        if chosen is None or chosen.counts == "env steps":
            return 25_000
        return DaggerConfig.gradient_steps  # before and after each round of DAgger

    @property
    def rollout(self) -> int:
        """Return the env steps per rollout of all environments."""
        return self.training.num_envs * self.on_policy().n_steps

    @property
    def total_timesteps(self) -> int:
        """Return the budget in env steps; a budget in gradient steps is rounded up to rollouts."""
        t = self.training
        if t.optimization_steps is None:
            return t.total_timesteps
        config = self.on_policy()
        each = config.n_epochs * math.ceil(self.rollout / (config.batch_size or self.rollout))
        return math.ceil(t.optimization_steps / each) * self.rollout

    def final_learning_rate(self, first: float) -> float:
        """Return the final learning rate for the initial one `first`."""
        if self.training.learning_rate_schedule == "constant":
            return first
        return _or_default(self.training.final_learning_rate, _FINAL_SHARE * first)

    def lambda_schedule(self) -> LambdaSchedule:
        """Return a new schedule of PPD's lambda. It is stateful: create one per run."""
        t = self.training
        return LambdaSchedule(t.PPD_parameter, t.final_lambda, t.lambda_schedule)

    def augmentation(self) -> AugmentationConfig:
        """Return the configuration of augmentation."""
        return AugmentationConfig(self.training.random_shift, self.training.modality_dropout)

    def on_policy(self) -> OnPolicyConfig:
        """Return the configuration of the chosen on-policy method.

        Flags that are not given take the method's defaults.
        """
        method = self.method.chosen
        values, taken = flag_values(self), flag_methods(Flags)
        settings = {}
        for field_ in fields(method.load_config()):
            flag = _FLAG_OF.get(field_.name, field_.name)
            if method.name in taken.get(flag, ()) and values[flag] is not None:
                settings[field_.name] = values[flag]
        if method.takes("minibatches") and self.student.recurrent != "none":
            settings.setdefault("batch_size", self._recurrent_batch)
        return method.load_config()(**{**settings, **method.settings})

    def clone(self) -> CloningConfig:
        """Return the configuration of cloning."""
        t, is_recurrent = self.training, self.student.recurrent != "none"
        batch_size = self._recurrent_batch if is_recurrent else CloningConfig.batch_size
        return CloningConfig(
            loss_type=self.cloning.loss_type,
            gradient_steps=t.optimization_steps or CloningConfig.gradient_steps,
            batch_size=t.batch_size or batch_size,
            sequence_length=t.sequence_length,
            learning_rate=_or_default(t.learning_rate, CloningConfig.learning_rate),
        )

    @property
    def _recurrent_batch(self) -> int:
        """Return the default samples per minibatch of a recurrent student."""
        return SEQUENCES * self.training.sequence_length

    def dagger(self) -> DaggerConfig:
        """Return the configuration of DAgger's rounds."""
        c = self.cloning
        return DaggerConfig(
            rounds=c.rounds,
            env_steps=c.round_env_steps,
            gradient_steps=c.round_gradient_steps,
            beta_schedule=c.beta_schedule,
        )

    def replay(self) -> ReplayConfig:
        """Return the configuration of sampling in cloning."""
        return ReplayConfig(alpha=self.cloning.alpha, mode_alpha=self.cloning.mode_alpha)

    def run_name(self) -> str:
        """Return a run name of the settings that most often differ between runs."""
        return f"{self.settings_name()}_run{self.training.run_index}"

    def settings_name(self) -> str:
        """Return the run name without the index of the seeds."""
        s, t = self.student, self.training
        mode = s.mode.rpartition(":")[2]  # an encoder of the user is package:Class
        parts = [mode] if not s.size else [mode, s.size] if mode == "State" else [s.size]
        if s.mode != "State":
            parts += ["blind" if s.blind else s.frame_size, *self._frames_in_name()]
        if s.recurrent != "none":
            parts.append(f"{s.recurrent}{s.recurrent_units}")
        if self.method.chosen.takes("lambda"):
            parts.append(f"lambda{t.PPD_parameter:g}")
            if t.lambda_schedule != "constant":
                parts.append(f"{t.lambda_schedule}{t.final_lambda:g}")
        if self.method.name == "BC_phase":
            collects, cloning = self.method.has_phase("C_data"), self.cloning
            dataset = str(cloning.num_data) if collects else Path(cloning.dataset).name
            parts += [cloning.loss_type, dataset]
        if self.teaching.corrupt_teacher:
            parts.append(f"corrupt{self.teaching.corrupt_teacher:g}")
        if t.init_from is not None:
            parts.append("init")
        return "_".join(parts)

    def _frames_in_name(self) -> list[str]:
        """Return the parts of a run name that describe unusual frames."""
        s = self.student
        parts = [name for name in ("rgb", "depth") if getattr(s, name)]
        if s.camera is not None:
            parts.append(_as_file_name(s.camera))
        if s.randomise_looks:
            parts.append(
                "looks" if s.look_ranges is None else f"looks-{_as_file_name(s.look_ranges)}"
            )
        if s.camera_encoders != "shared":
            parts.append(s.camera_encoders)
        numbers = {"stack": s.stack, "every": s.frame_interval, "keypoints": s.keypoints or None}
        return parts + [f"{name}{n}" for name, n in numbers.items() if n is not None]


class UncheckedFlags(Flags):
    """Flags without checks: defaults that the command line may change, or flags of old runs."""

    def __post_init__(self) -> None:
        pass


def _as_file_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", text)


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else value
