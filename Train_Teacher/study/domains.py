"""Results of the domain study: returns across domains, curves and times, as JSON and table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from Common.errors import UserError
from Common.files.durable import write_file
from Common.runs.files import read_metrics
from Enviroment import seeds
from Evaluation.plots.curves import Curve
from Evaluation.runs import Run
from Evaluation.stats.estimates import Estimate, estimate
from Evaluation.table import as_markdown
from Evaluation.tool import write_json

STUDY_FILE, TABLE_FILE = "study.json", "table.md"
NAMES = {
    "reinforce": "REINFORCE",
    "reinforce_20": "REINFORCE, baseline 20",
    "actor_critic": "Actor-Critic",
    "ppo": "PPO",
    "sac": "SAC",
}
# Seconds per episode in the study, which does not distinguish REINFORCE's baselines.
PAPER_SECONDS = {"reinforce": 5.4e-2, "reinforce_20": 5.4e-2, "actor_critic": 1.6e-1, "ppo": 1.2e-3}
# The algorithms' keys of the mean return of the last 100 training episodes.
_TRAINING_RETURN = ("rollout/ep_rew_mean", "rollout/ep_return")
_EPISODES, _SECONDS = "time/episodes", "time/training_seconds"


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training."""

    algo: str
    domain: str
    seed: int
    folder: Path

    @cached_property
    def _points(self) -> list[dict[str, Any]]:
        points = [p for p in read_metrics(self.folder) if {_EPISODES, _SECONDS} <= p.keys()]
        if not points:
            raise UserError(f"{self.folder} has no {_EPISODES}. Train it again.")
        return points

    def curve(self, x: str) -> Curve | None:
        """Return the curve of training returns (sampled actions); None without points.

        Args:
            x: key of the x-axis, a key of `metrics.jsonl`: "step" or "time/episodes".
        """
        known: dict[float, float] = {}
        for point in self._points:
            value = next((point[key] for key in _TRAINING_RETURN if key in point), None)
            if value is not None:
                known[float(point[x])] = float(value)  # keep the last of several
        if not known:
            return None
        # Empty `figures` mark the run as finished for `mean_curve`, which does not read them.
        run = Run(self.folder, {}, None, "", figures={})
        places = sorted(known)
        return Curve(run, np.array(places), np.array([known[at] for at in places]))

    @property
    def seconds_per_episode(self) -> float:
        """Return the training time per episode, without evaluations and checkpoints."""
        last = self._points[-1]
        return last[_SECONDS] / max(last[_EPISODES], 1)

    @property
    def milliseconds_per_step(self) -> float:
        """Return the training time per env step; episodes get longer as a policy learns."""
        last = self._points[-1]
        return 1e3 * last[_SECONDS] / last["step"]


@dataclass(frozen=True)
class Transfer:
    """Mean test returns of an algorithm per seed, for a training and a test domain."""

    algo: str
    name: str  # "source -> target"
    returns: tuple[float, ...]

    @cached_property
    def estimate(self) -> Estimate:
        """Return the mean over seeds with its bootstrap interval."""
        return estimate({"": self.returns}, lambda scores: scores.mean(axis=-1))


@dataclass(frozen=True)
class Study:
    """Results of the whole study."""

    trainings: Sequence[FinishedTraining]
    transfers: Sequence[Transfer]
    test_episodes: int
    env_steps: dict[str, int]  # per training of each algorithm

    @property
    def algos(self) -> list[str]:
        return list(self.env_steps)

    def seconds_per_episode(self, algo: str) -> float:
        """Return the mean time per episode over the trainings in the source."""
        return float(np.mean([t.seconds_per_episode for t in self.in_source(algo)]))

    def milliseconds_per_step(self, algo: str) -> float:
        """Return the mean time per env step over the trainings in the source."""
        return float(np.mean([t.milliseconds_per_step for t in self.in_source(algo)]))

    def in_source(self, algo: str) -> list[FinishedTraining]:
        """Return the trainings in the source without UDR."""
        return [t for t in self.trainings if (t.algo, t.domain) == (algo, "source")]


def write_numbers(study: Study, folder: Path) -> None:
    """Write `study.json` and `table.md`.

    Raises:
        UserError: they cannot be written, or a training's record is missing or damaged.
    """
    write_json(folder / STUDY_FILE, describe(study))
    write_file(folder / TABLE_FILE, table(study).encode())


def describe(study: Study) -> dict[str, Any]:
    """Return the contents of `study.json`."""
    return {
        "test_episodes": study.test_episodes,
        "first_test_seed": seeds.EVALUATION.start,
        "algorithms": {
            algo: {
                "env_steps": study.env_steps[algo],
                "seconds_per_episode": study.seconds_per_episode(algo),
                "milliseconds_per_step": study.milliseconds_per_step(algo),
                "paper_seconds_per_episode": PAPER_SECONDS.get(algo),
                "transfers": {
                    t.name: {"returns": t.returns, **asdict(t.estimate)}
                    for t in study.transfers
                    if t.algo == algo
                },
            }
            for algo in study.algos
        },
    }


def table(study: Study) -> str:
    """Return the contents of `table.md`."""
    by_place = {(t.algo, t.name): t for t in study.transfers}
    names = list(dict.fromkeys(t.name for t in study.transfers))

    def row(title: str, name: str, cell: Callable[[str], str]) -> dict[str, str]:
        return {title: name, **{NAMES[algo]: cell(algo) for algo in study.algos}}

    def transfer(name: str) -> dict[str, str]:
        return row(trained, name, lambda algo: with_interval(by_place[algo, name].estimate, ".1f"))

    def paper(algo: str) -> str:
        return f"{PAPER_SECONDS[algo]:.1e}" if algo in PAPER_SECONDS else ""

    trained = "trained -> tested in"
    returns = [
        *map(transfer, names),
        row(trained, "seeds", lambda algo: str(len(by_place[algo, names[0]].returns))),
        row(trained, "env steps per training", lambda algo: f"{study.env_steps[algo]:,}"),
    ]
    times = [
        row("", "seconds per episode", lambda algo: f"{study.seconds_per_episode(algo):.1e}"),
        row("", "seconds per episode, paper", paper),
        row("", "milliseconds per env step", lambda a: f"{study.milliseconds_per_step(a):.3f}"),
    ]
    return (
        f"Mean return of {study.test_episodes} test episodes, over seeds (95% interval)\n\n"
        f"{as_markdown(returns)}\nTraining time without evaluations\n\n{as_markdown(times)}"
    )


def with_interval(value: Estimate, form: str) -> str:
    """Return an estimate with its interval, such as `12.0 (11.0 to 13.0)`."""
    if value.low is None or value.high is None:
        return format(value.value, form)
    return f"{value.value:{form}} ({value.low:{form}} to {value.high:{form}})"
