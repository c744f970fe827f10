"""The command-line flags of the task scripts, by group (resolved by `Distillation.flags.resolve`).

Each flag is declared once: its type, the methods that accept it, its default (taken from the
algorithm's config where there is one), and in the comment its help text with the unit. Each method
lists the options that it accepts in `Algorithm.method_registry`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from Algorithm.cloning.config import DaggerConfig
from Algorithm.method_registry import METHODS, Method, in_order
from Algorithm.on_policy.config import PPDConfig
from Algorithm.sequences import SEQUENCE_LENGTH
from Common.errors import UserError
from Models.networks.encoders import ENCODERS, check_own, is_own

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MODES = ("State", *(name for name, kind in ENCODERS.items() if kind.is_mode))
Simulator = Literal["gymnasium", "warp"]
Size = Literal["", "smaller", "same", "larger"]
CameraEncoders = Literal["shared", "separate"]
Recurrent = Literal["none", "gru"]
LrSchedule = Literal["linear", "constant"]
LambdaKind = Literal["constant", "linear", "skill"]
BetaSchedule = Literal["zero", "constant", "linear", "exponential"]
ModeAlpha = Literal["constant", "linear", "dynamic_mean", "dynamic_max"]


# Both spellings are accepted; runs and bundles store the first.
_OTHER_SPELLINGS = {mode.replace("Impaala", "Impala"): mode for mode in MODES}


def canonical_mode(text: str) -> str:
    """Return the stored spelling of a mode, such as `ImpaalaSmall` for `ImpalaSmall`."""
    return _OTHER_SPELLINGS.get(text, text)


_MODE_FLAG = PrimitiveConstructorSpec(
    nargs=1,
    metavar=f"{{{','.join(MODES)}}}",
    instance_from_str=lambda words: canonical_mode(words[0]),
    is_instance=lambda value: value in MODES,
    str_from_instance=lambda value: [value],
    choices=tuple(dict.fromkeys((*MODES, *_OTHER_SPELLINGS))),
)


@dataclass(frozen=True)
class Takes:
    """The methods that accept a flag: those with one of these options, or all without options."""

    options: tuple[str, ...] = ()

    def methods(self) -> tuple[str, ...]:
        """Return the names of these methods."""
        return tuple(
            method.name
            for method in METHODS.values()
            if not self.options or set(self.options) & set(method.options)
        )


EVERY = Takes()
STUDENT = Takes(("student",))
INITIAL = Takes(("initial",))
ROLLOUTS = Takes(("rollouts",))
ENVIRONMENTS = Takes(("environments",))
MINIBATCHES = Takes(("minibatches",))
EPOCHS = Takes(("epochs",))
KL = Takes(("kl",))
LAMBDA = Takes(("lambda",))
COLLECTION = Takes(("collection",))
NOISE = Takes(("noise",))
LABELS = Takes(("labels",))
ROUNDS = Takes(("rounds",))
TEACHER = Takes(("teacher",))


@dataclass(frozen=True)
class ChosenMethod:
    """Method. Give one, or consecutive phases: C_data, BC_phase, Dagger_phase."""

    @property
    def given(self) -> tuple[str, ...]:
        """Return the names of all given methods."""
        return tuple(name for name, given in dataclasses.asdict(self).items() if given)

    @property
    def phases(self) -> tuple[str, ...]:
        """Return the method, or the consecutive phases of one run.

        Raises:
            UserError: none is given, or several that are no such phases.
        """
        phases = in_order(self.given)
        if not phases:
            methods = ", ".join(f"--{name}" for name in METHODS)
            given = " and ".join(f"--{name}" for name in self.given) or "none"
            raise UserError(
                f"Give exactly one method of {methods}, or consecutive phases of --C_data "
                f"--BC_phase --Dagger_phase; given: {given}."
            )
        return phases

    @property
    def name(self) -> str:
        """Return the name of the method: that of the last phase. Raise as `phases` does."""
        return self.phases[-1]

    @property
    def chosen(self) -> Method:
        """Return the registered method: that of the last phase. Raise as `phases` does."""
        return METHODS[self.name]

    def has_phase(self, name: str) -> bool:
        """Return whether a method is given before another one, as a phase of the same run."""
        return name in in_order(self.given)[:-1]

    def refuse(self, option: str, fitting: tuple[str, ...], hint: str = "") -> None:
        """Check that the chosen method supports an option.

        Args:
            fitting: names of the methods that support the option.
            hint: what to do instead.

        Raises:
            UserError: the chosen method does not support it.
        """
        for name in in_order(self.given)[-1:]:
            if name not in fitting:
                methods = ", ".join(f"--{method}" for method in fitting)
                raise UserError(f"{option} is for {methods}, not for --{name}. {hint}".strip())


if TYPE_CHECKING:

    class MethodFlags(ChosenMethod):
        """One switch per registered method."""

        def __init__(self, **given: bool) -> None: ...

else:
    MethodFlags = dataclasses.make_dataclass(
        "MethodFlags",
        [
            (method.name, Annotated[bool, tyro.conf.arg(help=method.summary)], False)
            for method in METHODS.values()
        ],
        bases=(ChosenMethod,),
        frozen=True,
        namespace={"__doc__": ChosenMethod.__doc__, "__module__": __name__},
    )


@dataclass(frozen=True)
class StudentFlags:
    """Observations and network of the student."""

    # network: an MLP on the state, or an IMPALA-CNN on frames
    mode: Annotated[str, _MODE_FLAG, STUDENT] = "State"
    # an encoder of your own instead of --mode: package:Class, which is imported
    encoder: Annotated[str | None, STUDENT] = None
    # safetensors file with the frozen weights of the encoder's `backbone`
    backbone: Annotated[str | None, STUDENT] = None
    # SHA-256 that the file of --backbone must have; default: any, it is recorded
    backbone_sha256: Annotated[str | None, STUDENT] = None
    # use the paper's network for the task's suite instead of --mode
    size: Annotated[Size, STUDENT] = ""
    frame_size: Annotated[str, EVERY] = "64x64"  # HEIGHTxWIDTH in pixels
    # cameras of the frames, such as top,wrist: names of the model's cameras, or of bodies to
    # follow; `default` is the task's own camera
    camera: Annotated[str | None, EVERY] = None
    # draw frames in colour instead of gray
    rgb: Annotated[bool, EVERY] = False
    # add a channel of depth to each camera
    depth: Annotated[bool, EVERY] = False
    # range of depth, NEAR:FAR in metres, mapped to 0 to 255; default: that of the model's geoms
    depth_range: Annotated[str | None, EVERY] = None
    # frames per observation; default: the task's (4)
    stack: Annotated[int | None, STUDENT] = None
    # env steps between the frames of an observation; default: the task's (2)
    frame_interval: Annotated[int | None, STUDENT] = None
    # with several cameras: shared: one encoder for the channels of all; separate: one encoder each
    camera_encoders: Annotated[CameraEncoders, STUDENT] = "shared"
    # draw each training episode with random light, colours, textures and camera pose, from its
    # seed; evaluations show the environment as it is
    randomise_looks: Annotated[bool, EVERY] = False
    # ranges of random looks that differ from the defaults, such as light=0.8,camera_turn=5
    look_ranges: Annotated[str | None, EVERY] = None
    pooling: Annotated[int, STUDENT] = 3  # side of the CNN's output grid after average pooling
    # keypoints of a spatial soft-argmax on the CNN's output, instead of average pooling, such as
    # 32; 0: none
    keypoints: Annotated[int, STUDENT] = 0
    # initial log std of the actions (with a SAC teacher: before tanh)
    init_log_std: Annotated[float, STUDENT] = -1.6
    # memory of the episode after the encoder; gru: a gated recurrent unit
    recurrent: Annotated[Recurrent, STUDENT] = "none"
    recurrent_units: Annotated[int, STUDENT] = 128  # size of the memory
    critic_on_state: Annotated[bool, STUDENT] = False  # give the critic the state in training
    # zero all frames: the baseline of the skill metric
    blind: Annotated[bool, STUDENT] = False

    @property
    def own_encoder(self) -> str | None:
        """Return the user's own encoder, which runs store as the mode; None if there is none."""
        return self.encoder or (self.mode if is_own(self.mode) else None)

    def with_encoder(self, *, mode_given: bool) -> Self:
        """Return the flags with `encoder` as the mode, as runs store it.

        Args:
            mode_given: whether the user gave a mode.

        Raises:
            UserError: the name is invalid, or two flags set the network.
        """
        if self.encoder is None:
            return self
        check_own(self.encoder)
        for name, given in (("mode", mode_given), ("size", bool(self.size))):
            if given:
                raise UserError(f"--encoder and --{name} both set the network: give only one.")
        return dataclasses.replace(self, mode=self.encoder, encoder=None)

    def check_size(self) -> None:
        """Raise UserError if `size` is combined with settings of the network."""
        plain = StudentFlags()
        for name in ("pooling", "keypoints", "init_log_std", "recurrent"):
            if self.size and getattr(self, name) != getattr(plain, name):
                raise UserError(
                    f"--size {self.size} sets the whole network of the paper: leave out --{name}."
                )


@dataclass(frozen=True)
class TrainingFlags:
    """Training of the student."""

    # start from this student: run folder or bundle
    init_from: Annotated[Path | None, INITIAL] = None
    total_timesteps: Annotated[int, ROLLOUTS] = 350_000  # env steps in total
    # gradient steps; replaces --total_timesteps as the budget
    optimization_steps: Annotated[int | None, STUDENT] = None
    # stop at an evaluation whose skill on validation seeds is at least this, if twice as many
    # further validation seeds confirm it; schedules stay those of the full budget
    until_skill: Annotated[float | None, STUDENT] = None
    num_envs: Annotated[int, ENVIRONMENTS] = 18  # number of parallel environments
    # simulator of the training environments; warp: mujoco-warp, which steps all of them on --device
    simulator: Annotated[Simulator, ENVIRONMENTS] = "gymnasium"
    # env steps per rollout and environment; default: 64 (PPD, PPO), 5 (others)
    num_steps: Annotated[int | None, ROLLOUTS] = None
    # epochs per rollout
    num_epochs: Annotated[int, EPOCHS] = PPDConfig.n_epochs
    # samples per minibatch; default: 32; recurrent students: 4 sequences
    batch_size: Annotated[int | None, MINIBATCHES] = None
    # initial learning rate; default: 2e-3 (distillations), 1e-3 (others)
    learning_rate: Annotated[float | None, STUDENT] = None
    learning_rate_schedule: Annotated[LrSchedule, ROLLOUTS] = "linear"  # linear decay or constant
    # final learning rate of linear decay; default: 5% of the initial one
    final_learning_rate: Annotated[float | None, ROLLOUTS] = None
    PPD_parameter: Annotated[float, LAMBDA] = 5.0  # lambda: weight of the KL to the teacher
    # forward: KL(teacher || student); reverse: KL(student || teacher)
    kl_direction: Annotated[Literal["forward", "reverse"], KL] = "forward"
    lambda_schedule: Annotated[LambdaKind, LAMBDA] = "constant"  # schedule of lambda
    # lambda at the end of training (linear) or at skill 1 (skill)
    final_lambda: Annotated[float, LAMBDA] = 0.5
    # detach the KL's importance weight; --no_detach_ratio: keep its gradient, as in the paper
    detach_ratio: Annotated[bool, LAMBDA] = PPDConfig.detach_ratio
    gamma: Annotated[float, ROLLOUTS] = PPDConfig.gamma  # discount factor
    gae_lambda: Annotated[float, ROLLOUTS] = PPDConfig.gae_lambda  # lambda of GAE
    clip_range: Annotated[float, EPOCHS] = 0.2  # clipping range of the probability ratio
    ent_coef: Annotated[float, ROLLOUTS] = PPDConfig.ent_coef  # weight of the entropy bonus
    critic_warmup: Annotated[int, ROLLOUTS] = 0  # env steps that train only the critic
    # initialise the critic, which has to observe the state, as the teacher's; rewards are divided
    # by the scale of the teacher's training
    teacher_critic: Annotated[bool, LAMBDA] = False
    # recurrent students: env steps through which gradients flow
    sequence_length: Annotated[int, STUDENT] = SEQUENCE_LENGTH
    # augmentation: maximum random shift of frames in pixels
    random_shift: Annotated[int, STUDENT] = 0
    # augmentation: share of samples without frames or without proprioception
    modality_dropout: Annotated[float, STUDENT] = 0.0
    run_index: Annotated[int, EVERY] = 0  # index of the seeds, 0 to 255


@dataclass(frozen=True)
class CloningFlags:
    """Datasets, behavioural cloning and DAgger. Gradient steps are --optimization_steps."""

    num_data: Annotated[int, COLLECTION] = 20_000  # number of env steps to collect
    # std of the noise on executed actions, in half action ranges; default: 0.2, 0 without bounds;
    # discrete actions: share of random ones; default: 0.1
    behaviour_noise: Annotated[float | None, NOISE] = None
    # 5k, 20k, 100k, any number of env steps, or a folder; DAgger: also none
    dataset: Annotated[str, LABELS] = "20k"
    collect_missing: Annotated[bool, LABELS] = False  # collect the dataset if missing
    # loss to the teacher's distribution (KL) or action (MSE, NLL, BetaNLL)
    loss_type: Annotated[Literal["NLL", "BetaNLL", "KL", "MSE"], LABELS] = "KL"
    # prioritisation of samples by their loss; 0: uniform sampling
    alpha: Annotated[float, LABELS] = 0.0
    mode_alpha: Annotated[ModeAlpha, LABELS] = "constant"  # schedule of alpha
    folder_Dagger: Annotated[Path | None, ROUNDS] = None  # BC run folder that DAgger continues
    rounds: Annotated[int, ROUNDS] = DaggerConfig.rounds  # number of DAgger rounds
    # env steps per round; preferably whole episodes of all environments
    round_env_steps: Annotated[int, ROUNDS] = DaggerConfig.env_steps
    # gradient steps per round
    round_gradient_steps: Annotated[int, ROUNDS] = DaggerConfig.gradient_steps
    beta_schedule: Annotated[BetaSchedule, ROUNDS] = "zero"  # schedule of the teacher's share


@dataclass(frozen=True)
class TeacherFlags:
    """Teacher."""

    # bundle or teacher run; default: Results/<task>/teachers/ppo, else sac
    teacher: Annotated[Path | None, EVERY] = None
    # std of noise on all parameters of the teacher (paper: 0.05)
    corrupt_teacher: Annotated[float, TEACHER] = 0.0
    # lower bound of the teacher's std, which limits the KL
    min_teacher_std: Annotated[float, TEACHER] = 0.2
    # limit the teacher's mean to one std beyond the action's bounds, where actions are clipped;
    # --no_clip_teacher_mean: keep the mean as it is
    clip_teacher_mean: Annotated[bool, TEACHER] = True


@dataclass(frozen=True)
class RunFlags:
    """Execution and output of the run."""

    # run folder; default: Results/<task>/<method>/<run name>
    output: Annotated[Path | None, EVERY] = None
    overwrite: Annotated[bool, STUDENT] = False  # delete an existing run in the folder
    device: Annotated[str, STUDENT] = "auto"  # auto, cpu, cuda or cuda:N
    # threads of torch and the environments; default: OMP_NUM_THREADS, or one per core that this
    # process may use
    threads: Annotated[int | None, EVERY] = None
    # run environments in threads, or in processes if a step is mostly Python code
    workers: Annotated[Literal["thread", "process"], EVERY] = "thread"
    wandb: Annotated[Literal["offline", "online", "disabled"], STUDENT] = "offline"  # W&B mode
    # also write the metrics for TensorBoard, in the run folder
    tensorboard: Annotated[bool, STUDENT] = False
    # resume the run or dataset in the folder
    resume: Annotated[bool, EVERY] = False
    # interval of checkpoints; default: 25000 env steps; cloning: 400 gradient steps
    checkpoint_every: Annotated[int | None, STUDENT] = None
    checkpoint_minutes: Annotated[float, STUDENT] = 5.0  # maximum minutes between checkpoints
    # number of newest checkpoints to keep, in addition to the best
    keep: Annotated[int, STUDENT] = 2
    # interval of evaluations; default: 25000 env steps; cloning: 400 gradient steps
    eval_every: Annotated[int | None, STUDENT] = None
    # episodes per evaluation, each on training (ID) and validation seeds (OD)
    eval_episodes: Annotated[int, STUDENT] = 20
    # episodes of the final evaluation, on evaluation seeds
    final_episodes: Annotated[int, STUDENT] = 50
    # record a video of an evaluation episode at the end and, for W&B, per evaluation; --no_video:
    # record none
    video: Annotated[bool, STUDENT] = True
    # YAML or JSON file of flags; the command line takes precedence
    config: Annotated[Path | None, EVERY] = None


def flag_values(groups: DataclassInstance) -> dict[str, Any]:
    """Return the values of all flags by name.

    Args:
        groups: a dataclass of groups, such as `Flags`.
    """
    parts = (getattr(groups, field.name) for field in dataclasses.fields(groups))
    return {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}


@cache
def flag_methods(groups: type[DataclassInstance]) -> dict[str, tuple[str, ...]]:
    """Return the methods that accept each flag, without the switches of the methods.

    Args:
        groups: a dataclass of groups, such as `Flags`.
    """
    taken: dict[str, tuple[str, ...]] = {}
    for group in get_type_hints(groups, include_extras=True).values():
        for name, hint in get_type_hints(group, include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, Takes):
                    taken[name] = mark.methods()
    return taken
