"""Configuration of the domain study: algorithms, and training and test domains."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.tasks import Task, get_task

StudyAlgo = Literal["reinforce", "reinforce_20", "actor_critic", "ppo", "sac"]

# Arguments of `Train_Teacher/Hopper.py` per algorithm; the number is REINFORCE's baseline.
ALGORITHMS: dict[StudyAlgo, tuple[str, ...]] = {
    "reinforce": ("--algo", "reinforce"),
    "reinforce_20": ("--algo", "reinforce", "--baseline", "20"),
    "actor_critic": ("--algo", "actor_critic"),
    "ppo": ("--algo", "ppo"),
    "sac": ("--algo", "sac"),
}
DOMAINS = ("source", "target", "source-udr")  # training domains
# Training and test domain by their name in tables.
TRANSFERS = {
    "source -> source": ("source", "source"),
    "source -> target": ("source", "target"),  # the lower bound
    "UDR -> target": ("source-udr", "target"),
    "target -> target": ("target", "target"),  # the upper bound
}


@dataclass(frozen=True)
class StudyFlags:
    """Run the domain study: train each algorithm in the source, in the source with UDR and in the
    target, and test it on episodes of evaluation seeds. Finished trainings and tests are skipped:
    to resume, repeat the command.
    """

    output: Path  # folder of the study
    algos: tuple[StudyAlgo, ...] = ("reinforce", "reinforce_20", "actor_critic", "ppo")
    seeds: int = 3  # trainings per algorithm and domain, 1 to 256
    # env steps per training: one number, or one per entry of --algos; default: as without --study,
    # for PPO the paper's 10 million
    total_timesteps: tuple[int, ...] = ()

    test_episodes: int = 200  # test episodes per policy and domain
    jobs: int = 1  # parallel trainings with one thread each

    def __post_init__(self) -> None:
        if not self.algos or len(set(self.algos)) < len(self.algos):
            raise UserError("--algos needs at least one algorithm, and each once.")
        if not 1 <= self.seeds <= seeds.MAX_RUN_INDEX + 1:
            raise UserError(f"--seeds {self.seeds} must be in [1, {seeds.MAX_RUN_INDEX + 1}].")
        if len(self.total_timesteps) not in (0, 1, len(self.algos)):
            raise UserError(
                f"--total_timesteps has {len(self.total_timesteps)} numbers for the "
                f"{len(self.algos)} algorithms of --algos: give one, or one per algorithm."
            )
        for name in ("test_episodes", "jobs"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} must be at least 1.")

    def trainings(self) -> list[Training]:
        """Return all trainings, ordered by algorithm, domain and seed."""
        totals: tuple[int | None, ...] = self.total_timesteps or (None,)
        totals = totals if len(totals) > 1 else totals * len(self.algos)
        return [
            Training(algo, domain, seed, total, self.output.absolute())
            for algo, total in zip(self.algos, totals, strict=True)
            for domain in DOMAINS
            for seed in range(self.seeds)
        ]


@dataclass(frozen=True)
class StudentsFlags:
    """Draw figures 4 to 6 and write table 3 of the Hopper study. The runs must be of one task and
    one teacher, by --PPD or --PPO, and of the study's sizes.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders with runs
    output: Path  # output folder
    distill_lambda: float = 1.0  # lambda of the PPD runs in figures 4 and 5 and the table


@dataclass(frozen=True)
class Training:
    """One run of `Train_Teacher/Hopper.py`."""

    algo: StudyAlgo
    domain: str
    seed: int  # value of --run_index
    total_timesteps: int | None  # env steps; None: default of the algorithm
    output: Path = field(repr=False)  # folder of the study

    @property
    def name(self) -> str:
        return f"{self.algo}/{self.domain}_{self.seed}"

    @property
    def folder(self) -> Path:
        return self.output / "runs" / self.name

    @property
    def log(self) -> Path:
        return self.output / "logs" / f"{self.name}.log"

    @property
    def task(self) -> Task:
        return get_task(f"CustomHopper-{self.domain}")

    @property
    def flags(self) -> list[str]:
        """Return the arguments of the run, without those of the domain."""
        words = [*ALGORITHMS[self.algo], "--run_index", str(self.seed)]
        if self.total_timesteps is not None:
            words += ["--total_timesteps", str(self.total_timesteps)]
        return [*words, "--wandb", "disabled", "--no_video", "--output", str(self.folder)]

    def test_file(self, domain: str) -> Path:
        """Return the path of the returns of its test in a domain."""
        return self.output / "tests" / f"{self.name}_in_{domain}.json"
