"""The flags of every task's script, in their groups; `Distillation.flags` resolves them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from tyro.constructors import PrimitiveConstructorSpec

from Common.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ON_POLICY = ("PPD", "Sdistillation", "Tdistillation", "PPO")  # methods that learn from rollouts
Mode = Literal["State", "ImpaalaSmall", "ImpaalaMid", "ImpaalaBig"]
MODES: tuple[Mode, ...] = get_args(Mode)
Size = Literal["", "smaller", "same", "larger"]


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


METHODS = tuple(field.name for field in dataclasses.fields(MethodFlags))


@dataclass(frozen=True)
class StudentFlags:
    """What the student sees, and with what network."""

    # the network: an MLP on the state, or an IMPALA-CNN on frames
    mode: Annotated[Mode, _MODE_FLAG] = "State"
    size: Size = ""  # the paper's network for the task's suite, in place of --mode's
    frame_size: str = "64x64"  # pixels, height x width
    pooling: int = 3  # side of the grid that the CNN's features are averaged to
    init_log_std: float = -1.6  # of its actions, before the tanh of a SAC teacher's student
    critic_on_state: bool = False  # the critic sees the state during training
    blind: bool = False  # zero the frames, in training and evaluation: the baseline of skill

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

    init_from: Path | None = None  # begin with this student: a run folder, or a bundle
    total_timesteps: int = 350_000  # env steps, all environments together
    optimization_steps: int | None = None  # gradient steps, as the budget instead of env steps
    num_envs: int = 18  # environments
    num_steps: int | None = None  # env steps a rollout, each; default 64, in the distillations 5
    num_epochs: int = 4  # passes over a rollout; the distillations make one
    batch_size: int | None = None  # samples; default 256, in cloning 128; distillations take all
    learning_rate: float | None = None  # default 1e-3; in the distillations 2e-3
    learning_rate_schedule: Literal["linear", "constant"] = "linear"  # falling, or staying
    final_learning_rate: float | None = None  # of the linear one; default 5% of the first
    PPD_parameter: float = 5.0  # lambda, the weight of the KL to the teacher
    kl_direction: Literal["forward", "reverse"] = "forward"  # forward: KL(teacher || student)
    lambda_schedule: Literal["constant", "linear", "skill"] = "constant"  # what lambda follows
    final_lambda: float = 0.5  # at the end (linear), or at the teacher's skill (skill)
    detach_ratio: bool = True  # off: a gradient through the KL's importance weight (paper)
    gamma: float = 0.999  # discount
    gae_lambda: float = 0.9
    clip_range: float = 0.2  # of the probability ratio
    ent_coef: float = 0.0  # weight of the entropy bonus
    critic_warmup: int = 0  # env steps in which the critic alone learns
    random_shift: int = 0  # pixels that frames are shifted by, each way, while learning
    modality_dropout: float = 0.0  # share of samples that lose frames or joints while learning
    run_index: int = 0  # 0 to 5: which seeds


@dataclass(frozen=True)
class CloningFlags:
    """Datasets, behavioural cloning and DAgger. Gradient steps are --optimization_steps."""

    num_data: int = 100_000  # env steps to collect
    behaviour_noise: float = 0.0  # while collecting, in half ranges of an action; games: a share
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

    teacher: Path | None = None  # bundle, or run with one; default: Results/<task>/teachers/sac
    corrupt_teacher: float = 0.0  # deviation of the noise on each of its parameters (paper: 0.05)
    min_teacher_std: float = 0.2  # floor of its deviation: SAC's can vanish, and the KL explode


@dataclass(frozen=True)
class RunFlags:
    """Where it runs, and what it leaves behind."""

    output: Path | None = None  # run folder; default: Results/<task>/<method>/<run name>
    overwrite: bool = False  # delete the run that the folder holds
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    threads: int | None = None  # of torch and of the environments; default: one a core
    wandb: Literal["offline", "online", "disabled"] = "offline"
    resume: bool = False  # go on with the run, or the dataset, that the folder holds
    checkpoint_every: int | None = None  # default 25000 env steps; in cloning 1000 gradient steps
    checkpoint_minutes: float = 5.0  # minutes between checkpoints at most
    keep: int = 2  # checkpoints: the newest ones, beside the best
    eval_every: int | None = None  # default 25000 env steps; in cloning 1000 gradient steps
    eval_episodes: int = 20  # episodes an evaluation, on training seeds (ID) and others (OD) each
    final_episodes: int = 50  # evaluation episodes at the end, on seeds that chose nothing
    video: bool = True  # off: no episode is recorded at the end
    config: Path | None = None  # YAML or JSON file of flags; the command line goes before it


def flag_values(groups: DataclassInstance) -> dict[str, Any]:
    """Every flag's value by its name, of a dataclass of groups such as `Flags`."""
    parts = (getattr(groups, field.name) for field in dataclasses.fields(groups))
    return {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}
