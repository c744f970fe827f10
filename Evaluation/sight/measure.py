"""`python -m Evaluation.sight RUN`: test whether a student uses its frames.

The same episodes are played with frames removed or replaced. The return of a student that learned
to ignore them does not change, e.g. because proprioception predicts the rest of the state (see
`Evaluation.linear_probe`). For comparison, the results include a student trained on proprioception
only (a run with `--blind`), if the teacher's bundle has its returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

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
from Evaluation.evaluate.subject import Subject, open_frame_student
from Evaluation.metrics import ENDS, METRICS
from Evaluation.runs import OTHER_FRAMES
from Evaluation.tool import write_json

if TYPE_CHECKING:
    from Evaluation.sight.__main__ import SightFlags

SIGHT_FILE = "sight.json"
_AS_IT_IS, _NO_PROPRIO = "as it is", "proprio zeroed"
_BLIND = "another, of proprioception alone"
# Functions that make a new perturbation per evaluation, since some have state.
VARIANTS: Mapping[str, Callable[[], Perturbation]] = {
    _AS_IT_IS: lambda: unperturbed,
    "frames zeroed": lambda: on_group(FRAME, np.zeros_like),
    "frames frozen at the first": FrozenFrames,
    OTHER_FRAMES: lambda: on_group(FRAME, swap_environments),
    _NO_PROPRIO: lambda: on_group(PROPRIO, np.zeros_like),
}


def measure_sight(flags: SightFlags) -> dict[str, Any]:
    """Measure the use of sight, print the table and the verdict, and write the results.

    Returns:
        `verdict`, `used`, `episodes`, `first_seed` and `variants`: for each,
        `EpisodeStats.summary`, `drop` (decrease of the return on the same seeds, with its 95%
        interval `drop_low` and `drop_high`) and, if known, `skill`. For the blind student, if
        known, only the figures that follow from its returns.

    Raises:
        UserError: there is no student, it does not observe frames, or there are fewer than 2
            episodes.
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
    Console().print(_table(variants, f"Use of sight on {describe_seeds(episodes)}"))
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
    """Return the figures of each variant, compared with the unperturbed student.

    Args:
        stats: statistics by variant on the same seeds, including `as it is`.
        baselines: returns on these seeds; with those of teacher and blind, skill is included.
    """
    variants = {name: episodes.summary() for name, episodes in stats.items()}
    returns = {name: episodes.returns for name, episodes in stats.items()}  # (episodes,) each
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
    """Return whether sight is used, and the verdict as text.

    The decision is by frames of another episode: they are in the distribution of training, but
    their content is wrong. Zeroed frames are out of distribution, which can lower the return of a
    student that ignores content.
    """
    other, as_it_is = variants[OTHER_FRAMES], variants[_AS_IT_IS]
    used = other["drop_low"] > 0
    fall = (
        f"with frames of another episode the return falls by {other['drop']:.2f} "
        f"(95%: {other['drop_low']:.2f} to {other['drop_high']:.2f})"
    )
    if "skill" in other:
        fall += f", skill from {as_it_is['skill']:.2f} to {other['skill']:.2f}"
    if used:
        return True, f"Sight is used: {fall}."
    return False, (
        f"Sight is not shown to be used: {fall}. Use more --episodes, or check by "
        "`python -m Evaluation.linear_probe` whether frames are needed."
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
