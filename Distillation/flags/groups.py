"""The flags of every task's script, in their groups; `Distillation.flags.resolve` resolves them.

Each flag is declared here once: its type, its default (of the algorithm's own settings where it is
one of them), its unit and help in the comment, and which methods take it. A method names in
`Algorithm.method_registry` the options that it takes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from Algorithm.method_registry import METHODS, Method
from Algorithm.on_policy.config import PPDConfig
from Common.errors import UserError
from Models.networks.encoders import ENCODERS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MODES = ("State", *(name for name, kind in ENCODERS.items() if kind.is_mode))
Size = Literal["", "smaller", "same", "larger"]
LrSchedule = Literal["linear", "constant"]
LambdaKind = Literal["constant", "linear", "skill"]
BetaSchedule = Literal["zero", "constant", "linear", "exponential"]
ModeAlpha = Literal["constant", "linear", "dynamic_mean", "dynamic_max"]


# Both spellings are understood; runs and bundles have the first.
_OTHER_SPELLINGS = {mode.replace("Impaala", "Impala"): mode for mode in MODES}


def canonical_mode(text: str) -> str:
    """Return a mode as runs and bundles spell it: `ImpalaSmall` is `ImpaalaSmall`."""
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
    """Which methods take a flag: those with one of these options; every method where it is none."""

    options: tuple[str, ...] = ()

    def methods(self) -> tuple[str, ...]:
        """Return the names of those methods."""
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
    """Which method; give exactly one."""

    @property
    def name(self) -> str:
        """Raises UserError unless exactly one method is given."""
        chosen = [name for name, given in dataclasses.asdict(self).items() if given]
        if len(chosen) != 1:
            methods = ", ".join(f"--{name}" for name in METHODS)
            given = " and ".join(f"--{name}" for name in chosen) or "none"
            raise UserError(f"Give exactly one method of {methods}; given: {given}.")
        return chosen[0]

    @property
    def chosen(self) -> Method:
        """What the registry knows of it. Raises UserError unless exactly one method is given."""
        return METHODS[self.name]

    def refuse(self, option: str, fitting: tuple[str, ...], hint: str = "") -> None:
        """Refuses an option that the chosen method would pass over in silence.

        Args:
            fitting: the methods that it is for.
            hint: what to do instead.

        Raises:
            UserError: the method is none of them.
        """
        for name, given in dataclasses.asdict(self).items():
            if given and name not in fitting:
                methods = ", ".join(f"--{method}" for method in fitting)
                raise UserError(f"{option} is for {methods}, not for --{name}. {hint}".strip())


if TYPE_CHECKING:

    class MethodFlags(ChosenMethod):
        """A switch for each method of the registry."""

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
    """What the student sees, and with what network."""

    # the network: an MLP on the state, or an IMPALA-CNN on frames
    mode: Annotated[str, _MODE_FLAG, STUDENT] = "State"
    # the paper's network for the task's suite, in place of --mode's
    size: Annotated[Size, STUDENT] = ""
    frame_size: Annotated[str, EVERY] = "64x64"  # pixels, height x width
    pooling: Annotated[int, STUDENT] = 3  # side of the grid that the CNN's features are averaged to
    # of its actions, before the tanh of a SAC teacher's student
    init_log_std: Annotated[float, STUDENT] = -1.6
    critic_on_state: Annotated[bool, STUDENT] = False  # the critic sees the state during training
    # zero the frames, in training and evaluation: the baseline of skill
    blind: Annotated[bool, STUDENT] = False

    def check_size(self) -> None:
        """Refuses settings of a network where `size` names the whole of it. Raises UserError."""
        plain = StudentFlags()
        for name in ("pooling", "init_log_std"):
            if self.size and getattr(self, name) != getattr(plain, name):
                raise UserError(
                    f"--size {self.size} names the paper's whole network: leave out --{name}."
                )


@dataclass(frozen=True)
class TrainingFlags:
    """How it learns."""

    # begin with this student: a run folder, or a bundle
    init_from: Annotated[Path | None, INITIAL] = None
    total_timesteps: Annotated[int, ROLLOUTS] = 350_000  # env steps, all environments together
    # gradient steps, as the budget instead of env steps
    optimization_steps: Annotated[int | None, STUDENT] = None
    num_envs: Annotated[int, ENVIRONMENTS] = 18  # environments
    # env steps a rollout, each; default 64, in the distillations 5
    num_steps: Annotated[int | None, ROLLOUTS] = None
    # passes over a rollout; the distillations make one
    num_epochs: Annotated[int, EPOCHS] = PPDConfig.n_epochs
    # samples; default 256, in cloning 128; distillations take all
    batch_size: Annotated[int | None, MINIBATCHES] = None
    # default 1e-3; in the distillations 2e-3
    learning_rate: Annotated[float | None, STUDENT] = None
    learning_rate_schedule: Annotated[LrSchedule, ROLLOUTS] = "linear"  # falling, or staying
    # of the linear one; default 5% of the first
    final_learning_rate: Annotated[float | None, ROLLOUTS] = None
    PPD_parameter: Annotated[float, LAMBDA] = 5.0  # lambda, the weight of the KL to the teacher
    # forward: KL(teacher || student)
    kl_direction: Annotated[Literal["forward", "reverse"], KL] = "forward"
    lambda_schedule: Annotated[LambdaKind, LAMBDA] = "constant"  # what lambda follows
    # at the end (linear), or at the teacher's skill (skill)
    final_lambda: Annotated[float, LAMBDA] = 0.5
    # off: a gradient through the KL's importance weight (paper)
    detach_ratio: Annotated[bool, LAMBDA] = PPDConfig.detach_ratio
    gamma: Annotated[float, ROLLOUTS] = PPDConfig.gamma  # discount
    gae_lambda: Annotated[float, ROLLOUTS] = PPDConfig.gae_lambda
    clip_range: Annotated[float, EPOCHS] = 0.2  # of the probability ratio
    ent_coef: Annotated[float, ROLLOUTS] = PPDConfig.ent_coef  # weight of the entropy bonus
    critic_warmup: Annotated[int, ROLLOUTS] = 0  # env steps in which the critic alone learns
    # pixels that frames are shifted by, each way, while learning
    random_shift: Annotated[int, STUDENT] = 0
    # share of samples that lose frames or joints while learning
    modality_dropout: Annotated[float, STUDENT] = 0.0
    run_index: Annotated[int, EVERY] = 0  # 0 to 5: which seeds


@dataclass(frozen=True)
class CloningFlags:
    """Datasets, behavioural cloning and DAgger. Gradient steps are --optimization_steps."""

    num_data: Annotated[int, COLLECTION] = 100_000  # env steps to collect
    # while collecting, in half ranges of an action; games: a share
    behaviour_noise: Annotated[float, NOISE] = 0.0
    # 5k, 10k, 50k, 100k, any count of env steps, or a folder; DAgger: none
    dataset: Annotated[str, LABELS] = "100k"
    collect_missing: Annotated[bool, LABELS] = False  # collect the dataset if it is not there
    # to the teacher's action or distribution
    loss_type: Annotated[Literal["NLL", "KL", "MSE"], LABELS] = "NLL"
    # how strongly samples of a large loss are preferred; 0: uniform
    alpha: Annotated[float, LABELS] = 0.0
    mode_alpha: Annotated[ModeAlpha, LABELS] = "constant"
    folder_Dagger: Annotated[Path | None, ROUNDS] = None  # the BC run that DAgger goes on from
    rounds: Annotated[int, ROUNDS] = 5  # of DAgger
    # env steps a round; best whole episodes of every environment
    round_env_steps: Annotated[int, ROUNDS] = 3_600
    round_gradient_steps: Annotated[int, ROUNDS] = 1_000  # gradient steps a round
    beta_schedule: Annotated[BetaSchedule, ROUNDS] = "zero"  # teacher's share


@dataclass(frozen=True)
class TeacherFlags:
    """Who teaches."""

    # bundle, or run with one; default: Results/<task>/teachers/sac
    teacher: Annotated[Path | None, EVERY] = None
    # deviation of the noise on each of its parameters (paper: 0.05)
    corrupt_teacher: Annotated[float, TEACHER] = 0.0
    # floor of its deviation: SAC's can vanish, and the KL explode
    min_teacher_std: Annotated[float, TEACHER] = 0.2


@dataclass(frozen=True)
class RunFlags:
    """Where it runs, and what it leaves behind."""

    # run folder; default: Results/<task>/<method>/<run name>
    output: Annotated[Path | None, EVERY] = None
    overwrite: Annotated[bool, STUDENT] = False  # delete the run that the folder holds
    device: Annotated[str, STUDENT] = "auto"  # auto, cpu, cuda or cuda:N
    # of torch and of the environments; default: one a core
    threads: Annotated[int | None, EVERY] = None
    # who steps and draws the environments: process pays where a step is mostly Python
    workers: Annotated[Literal["thread", "process"], EVERY] = "thread"
    wandb: Annotated[Literal["offline", "online", "disabled"], STUDENT] = "offline"
    # go on with the run, or the dataset, that the folder holds
    resume: Annotated[bool, EVERY] = False
    # default 25000 env steps; in cloning 1000 gradient steps
    checkpoint_every: Annotated[int | None, STUDENT] = None
    checkpoint_minutes: Annotated[float, STUDENT] = 5.0  # minutes between checkpoints at most
    keep: Annotated[int, STUDENT] = 2  # checkpoints: the newest ones, beside the best
    # default 25000 env steps; in cloning 1000 gradient steps
    eval_every: Annotated[int | None, STUDENT] = None
    # episodes an evaluation, on training seeds (ID) and others (OD) each
    eval_episodes: Annotated[int, STUDENT] = 20
    # evaluation episodes at the end, on seeds that chose nothing
    final_episodes: Annotated[int, STUDENT] = 50
    video: Annotated[bool, STUDENT] = True  # off: no episode is recorded at the end
    # YAML or JSON file of flags; the command line goes before it
    config: Annotated[Path | None, EVERY] = None


def flag_values(groups: DataclassInstance) -> dict[str, Any]:
    """Every flag's value by its name, of a dataclass of groups such as `Flags`."""
    parts = (getattr(groups, field.name) for field in dataclasses.fields(groups))
    return {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}


def flag_methods(groups: type[DataclassInstance]) -> dict[str, tuple[str, ...]]:
    """Return the methods that take each flag but the methods' own, of a dataclass of groups."""
    taken: dict[str, tuple[str, ...]] = {}
    for group in get_type_hints(groups, include_extras=True).values():
        for name, hint in get_type_hints(group, include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, Takes):
                    taken[name] = mark.methods()
    return taken
