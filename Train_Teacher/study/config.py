"""The domain study as data: its algorithms, what each is trained in, what it is tested in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.tasks import Task, get_task

StudyAlgo = Literal["reinforce", "reinforce_20", "actor_critic", "ppo", "sac"]

# What `Train_Teacher/Hopper.py` is given for each; the number is REINFORCE's baseline.
ALGORITHMS: dict[StudyAlgo, tuple[str, ...]] = {
    "reinforce": ("--algo", "reinforce"),
    "reinforce_20": ("--algo", "reinforce", "--baseline", "20"),
    "actor_critic": ("--algo", "actor_critic"),
    "ppo": ("--algo", "ppo"),
    "sac": ("--algo", "sac"),
}
DOMAINS = ("source", "target", "source-udr")  # that there are trainings in
# Trained in, tested in; by their name in tables.
TRANSFERS = {
    "source -> source": ("source", "source"),
    "source -> target": ("source", "target"),  # the lower bound
    "UDR -> target": ("source-udr", "target"),
    "target -> target": ("target", "target"),  # the upper bound
}


@dataclass(frozen=True)
class StudyFlags:
    """The domain study: each algorithm is trained in the source, in the source with UDR and in the
    target, and tested on episodes of evaluation seeds. What is finished is not done again, so the
    same command goes on where it was stopped.
    """

    output: Path  # folder of the study
    algos: tuple[StudyAlgo, ...] = ("reinforce", "reinforce_20", "actor_critic", "ppo")
    seeds: int = 3  # 1 to 6 trainings of each algorithm in each domain
    # Env steps of a training: one number, or one for each of --algos; by default as without
    # --study, for PPO the paper's 10 million.
    total_timesteps: tuple[int, ...] = ()

    test_episodes: int = 200  # of each policy in each domain that it is tested in
    jobs: int = 1  # trainings at the same time, each in one thread

    def __post_init__(self) -> None:
        if not self.algos or len(set(self.algos)) < len(self.algos):
            raise UserError("--algos needs at least one algorithm, and each once.")
        if not 1 <= self.seeds <= seeds.MAX_RUN_INDEX + 1:
            raise UserError(f"--seeds {self.seeds} must lie in 1 to {seeds.MAX_RUN_INDEX + 1}.")
        if len(self.total_timesteps) not in (0, 1, len(self.algos)):
            raise UserError(
                f"--total_timesteps has {len(self.total_timesteps)} numbers for the "
                f"{len(self.algos)} algorithms of --algos: give one, or one for each."
            )
        for name in ("test_episodes", "jobs"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} must be at least 1.")

    def trainings(self) -> list[Training]:
        """All of them, the seeds of an algorithm in a domain one after another."""
        totals: tuple[int | None, ...] = self.total_timesteps or (None,)
        totals = totals if len(totals) > 1 else totals * len(self.algos)
        return [
            Training(algo, domain, seed, total, self.output.absolute())
            for algo, total in zip(self.algos, totals, strict=True)
            for domain in DOMAINS
            for seed in range(self.seeds)
        ]


@dataclass(frozen=True)
class Training:
    """One run of `Train_Teacher/Hopper.py`."""

    algo: StudyAlgo
    domain: str
    seed: int  # its --run_index
    total_timesteps: int | None  # env steps; None: the algorithm's own
    output: Path = field(repr=False)  # of the study

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
        """Of the run, after those that name the domain."""
        words = [*ALGORITHMS[self.algo], "--run_index", str(self.seed)]
        if self.total_timesteps is not None:
            words += ["--total_timesteps", str(self.total_timesteps)]
        return [*words, "--wandb", "disabled", "--no_video", "--output", str(self.folder)]

    def test_file(self, domain: str) -> Path:
        """Where the returns of its test in a domain are kept."""
        return self.output / "tests" / f"{self.name}_in_{domain}.json"
