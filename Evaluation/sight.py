"""`python -m Evaluation.sight RUN`: does a student use what it sees?

The same episodes are played with what it sees taken away or made false. A student that has
learned to do without (proprioception may tell more than one thinks: `Evaluation.linear_probe`)
does not notice. Beside it stands another student, which was trained on proprioception alone (a run
with `--blind`), where the teacher's bundle has its returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from Common.commands.progress import tracked
from Common.device import torch_threads
from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO
from Evaluation.evaluate.episodes import EpisodeStats, mean_interval, run_episodes, skill
from Evaluation.evaluate.figures import has_skill
from Evaluation.evaluate.perturbations import (
    FrozenFrames,
    Perturbation,
    PerturbedEnv,
    on_group,
    swap_environments,
    unperturbed,
)
from Evaluation.evaluate.seed_range import describe_seeds
from Evaluation.evaluate.subject import Subject, TeacherFlags, open_frame_student
from Evaluation.metrics import ENDS, METRICS
from Evaluation.tool import run_tool, write_json

SIGHT_FILE = "sight.json"
_AS_IT_IS, _SHUFFLED, _NO_PROPRIO = "as it is", "frames of another episode", "proprio zeroed"
_BLIND = "another, of proprioception alone"
# Made anew for each evaluation: some remember an episode.
VARIANTS: Mapping[str, Callable[[], Perturbation]] = {
    _AS_IT_IS: lambda: unperturbed,
    "frames zeroed": lambda: on_group(FRAME, np.zeros_like),
    "frames frozen at the first": FrozenFrames,
    _SHUFFLED: lambda: on_group(FRAME, swap_environments),
    _NO_PROPRIO: lambda: on_group(PROPRIO, np.zeros_like),
}


@dataclass(frozen=True)
class SightFlags(TeacherFlags):
    """Is sight used? The same episodes with frames zeroed, frozen, or of another episode."""

    episodes: int | None = None  # default: 20, or all of FIRST:STOP
    output: Path | None = None  # JSON; default: RUN/diagnostics/sight.json


def measure_sight(flags: SightFlags) -> dict[str, Any]:
    """Prints the table and the verdict, and writes them.

    Returns:
        `verdict`, `used`, `episodes`, `first_seed` and `variants`: for each `EpisodeStats.summary`,
        `drop` (by how much the return falls; on the same seeds, with `drop_low` and `drop_high`,
        its 95% interval) and, where it is known, `skill`. Of the blind student, where it is
        known, the same but for what only playing tells.

    Raises:
        UserError: there is no student, or it sees no frames; or fewer than 2 episodes.
    """
    episodes = flags.seed_range(default=20)
    if len(episodes) < 2:
        raise UserError("Frames of another episode need at least 2 episodes.")
    subject, baselines = open_frame_student(flags, episodes)
    with torch_threads(flags.threads or subject.threads):
        stats = _play(subject, episodes)
    variants = compare(stats, baselines)
    used, verdict = judge(variants)
    result = {
        "verdict": verdict,
        "used": used,
        "episodes": len(episodes),
        "first_seed": episodes.start,
        "variants": variants,
    }
    path = flags.output or subject.diagnostics / SIGHT_FILE
    write_json(path, result)
    Console().print(_table(variants, f"What is seen, on {describe_seeds(episodes)}"))
    print(f"{verdict}\nWritten to {path}")
    return result


def _play(subject: Subject, episodes: range) -> dict[str, EpisodeStats]:
    stats = {}
    env = subject.make_env(len(episodes))
    try:
        for name, make in tracked(VARIANTS.items(), len(VARIANTS), "variants"):
            if name == _NO_PROPRIO and PROPRIO not in subject.groups:
                continue
            perturbed = PerturbedEnv(env, make())
            stats[name] = run_episodes(
                subject.act(), perturbed, subject.task, episodes.start, len(episodes)
            )
    finally:
        env.close()
    return stats


def compare(
    stats: Mapping[str, EpisodeStats], baselines: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Figures of each variant, beside those of the student as it is.

    Args:
        stats: `as it is` among them, on the same seeds.
        baselines: returns on these seeds; skill is told where those of teacher and blind are known.
    """
    variants = {name: of.summary() for name, of in stats.items()}
    returns = {name: of.returns for name, of in stats.items()}  # (episodes,) each
    if "blind" in baselines:
        returns[_BLIND] = baselines["blind"]
        low, high = mean_interval(baselines["blind"])
        mean = float(baselines["blind"].mean())
        variants[_BLIND] = {"return": mean, "return_low": low, "return_high": high}
    for name, figures in variants.items():
        if name != _AS_IT_IS:
            drops = returns[_AS_IT_IS] - returns[name]  # (episodes,), paired by seed
            low, high = mean_interval(drops)
            figures |= {"drop": float(drops.mean()), "drop_low": low, "drop_high": high}
        if has_skill(baselines):
            figures["skill"] = skill(returns[name], baselines["teacher"], baselines["blind"])
    return variants


def judge(variants: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
    """Whether sight is used, and a line for people.

    Frames of another episode decide: they look like those of training, and only what they tell is
    wrong. Black ones look like nothing that was ever seen, and alone they could upset anyone.
    """
    other, as_it_is = variants[_SHUFFLED], variants[_AS_IT_IS]
    used = other["drop_low"] > 0
    fall = (
        f"with another episode's frames the return falls by {other['drop']:.2f} "
        f"(95%: {other['drop_low']:.2f} to {other['drop_high']:.2f})"
    )
    if "skill" in other:
        fall += f", skill from {as_it_is['skill']:.2f} to {other['skill']:.2f}"
    if used:
        return True, f"Sight is used: {fall}."
    return False, (
        f"Sight is not shown to be used: {fall}. Play more --episodes; or frames may not be "
        "needed, which `python -m Evaluation.linear_probe` tells."
    )


def _table(variants: Mapping[str, Mapping[str, float]], title: str) -> Table:
    table = Table(title=title)
    columns = {"return": "return", "drop": "return", "skill": "skill", "success": "success"}
    shown = {
        column: METRICS[key].form
        for column, key in columns.items()
        if any(column in figures for figures in variants.values())
    }
    table.add_column("the student")
    for column in shown:
        title = "falls by (95%)" if column == "drop" else column
        table.add_column(title, justify="right")
    for name, figures in variants.items():
        cells = [format(figures[c], f) if c in figures else "" for c, f in shown.items()]
        if "drop" in figures:
            low, high = (METRICS["return"].written(figures["drop" + end]) for end in ENDS)
            cells[1] += f" ({low} to {high})"
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    run_tool(SightFlags, "Evaluation.sight", measure_sight)
