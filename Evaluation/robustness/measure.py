"""`python -m Evaluation.robustness RUN`: measure a student's robustness to perturbations.

Applies brightness, camera shift and turn, random looks, dropped frames and sensor noise, separately
and at increasing levels, to the same episodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from Common.commands.progress import tracked
from Common.device import torch_threads
from Enviroment import seeds
from Enviroment.drawing.looks import EpisodeLooks, LookRanges, TurnedCameras
from Enviroment.observations import FRAME, PROPRIO, colour_channels
from Evaluation.evaluate.episodes import EpisodeStats, run_episodes, skill
from Evaluation.evaluate.figures import has_skill
from Evaluation.evaluate.perturbations import (
    DroppedFrames,
    Perturbation,
    PerturbedEnv,
    noisy_proprio,
    on_group,
    scale_brightness,
    shift_frames,
    unperturbed,
)
from Evaluation.evaluate.seed_range import describe_seeds
from Evaluation.evaluate.subject import Subject, open_frame_student
from Evaluation.metrics import ENDS, METRICS
from Evaluation.plots.robustness_picture import draw_robustness
from Evaluation.tool import write_json

if TYPE_CHECKING:
    from Evaluation.robustness.__main__ import RobustnessFlags

ROBUSTNESS_FILE, ROBUSTNESS_PICTURE = "robustness.json", "robustness.png"


@dataclass(frozen=True)
class Disturbance:
    """A type of perturbation with its levels."""

    name: str
    unit: str
    group: str  # the perturbed observation group
    none: float  # the level without effect
    levels: tuple[float, ...]  # ascending, including `none`
    make: Callable[[Subject, float], Perturbation]  # called once per evaluation
    # Looks at a level, for environments that are drawn differently; None: as they are.
    looks: Callable[[float], EpisodeLooks] | None = None

    def fits(self, subject: Subject) -> bool:
        """Return whether a student can be disturbed so."""
        return self.group in subject.groups and (self.looks is None or bool(subject.task.cameras))


def _brightness(subject: Subject, factor: float) -> Perturbation:
    colour = colour_channels(subject.task)  # the brightness of a scene changes no distance
    return on_group(FRAME, lambda frames: scale_brightness(frames, factor, colour))


def _camera_shift(subject: Subject, pixels: float) -> Perturbation:
    return on_group(FRAME, lambda frames: shift_frames(frames, 0, int(pixels)))


def _dropped(subject: Subject, share: float) -> Perturbation:
    return DroppedFrames(subject.task, share, _rng())


def _noise(subject: Subject, deviations: float) -> Perturbation:
    return noisy_proprio(deviations * subject.proprio_std, _rng())


def _rng() -> np.random.Generator:
    return np.random.default_rng(seeds.model(0))


DISTURBANCES = (
    Disturbance(
        *("brightness", "times as bright", FRAME, 1.0),
        *((0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5), _brightness),
    ),
    Disturbance(
        *("camera_shift", "pixels to the right", FRAME, 0.0),
        *((-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0), _camera_shift),
    ),
    Disturbance(
        *("camera_turn", "degrees to the right", FRAME, 0.0, (-4.0, -2.0, 0.0, 2.0, 4.0)),
        make=lambda subject, degrees: unperturbed,
        looks=TurnedCameras,
    ),
    Disturbance(
        *("random_looks", "share of the default ranges", FRAME, 0.0, (0.0, 0.5, 1.0)),
        make=lambda subject, share: unperturbed,
        looks=LookRanges().scaled,
    ),
    Disturbance(
        *("dropped_frames", "share of frames lost", FRAME, 0.0),
        *((0.0, 0.25, 0.5, 0.75, 0.9, 0.97), _dropped),
    ),
    Disturbance(
        *("proprio_noise", "deviations of each joint", PROPRIO, 0.0),
        *((0.0, 0.03, 0.1, 0.2, 0.3), _noise),
    ),
)


def measure_robustness(flags: RobustnessFlags) -> dict[str, Any]:
    """Evaluate every level, print a table, and write robustness.json and robustness.png.

    Returns:
        `episodes`, `first_seed`, the returns of teacher and blind student on these seeds, if known,
        and `curves`: by name the `unit` and the `levels`, each with its `level`,
        `EpisodeStats.summary` and, if known, `skill`.

    Raises:
        UserError: there is no student, or it does not observe frames.
    """
    episodes = flags.seed_range(default=20)
    subject, baselines = open_frame_student(flags, episodes)
    with torch_threads(flags.threads or subject.threads):
        stats = _play(subject, episodes)
    result: dict[str, Any] = {"episodes": len(episodes), "first_seed": episodes.start}
    known = {n: float(baselines[n].mean()) for n in ("teacher", "blind") if n in baselines}
    result |= {f"{name}_return": value for name, value in known.items()}
    result["curves"] = _curves(stats, baselines)
    folder = flags.output or subject.diagnostics
    write_json(folder / ROBUSTNESS_FILE, result)
    draw_robustness(result, folder / ROBUSTNESS_PICTURE, subject.task.name)
    Console().print(_table(result["curves"], f"Robustness on {describe_seeds(episodes)}"))
    print(f"Written to {folder / ROBUSTNESS_FILE} and {ROBUSTNESS_PICTURE}")
    return result


def _play(subject: Subject, episodes: range) -> dict[str, dict[float, EpisodeStats]]:
    """Evaluate each level of each disturbance; the unperturbed level is evaluated only once."""
    span = subject.task, episodes.start, len(episodes)

    def play(env: VecEnv, perturb: Perturbation) -> EpisodeStats:
        return run_episodes(subject.act(), PerturbedEnv(env, perturb), *span)

    def play_at(d: Disturbance, level: float) -> EpisodeStats:
        if level == d.none:
            return undisturbed
        if d.looks is None:
            return play(plain, d.make(subject, level))
        with contextlib.closing(subject.make_env(len(episodes), looks=d.looks(level))) as env:
            return play(env, d.make(subject, level))

    with contextlib.closing(subject.make_env(len(episodes))) as plain:
        undisturbed = play(plain, unperturbed)
        return {
            d.name: {level: play_at(d, level) for level in d.levels}
            for d in tracked(DISTURBANCES, len(DISTURBANCES), "disturbances")
            if d.fits(subject)
        }


def _curves(
    stats: Mapping[str, Mapping[float, EpisodeStats]], baselines: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    def figures(level: float, episodes: EpisodeStats) -> dict[str, float]:
        described = {"level": level, **episodes.summary()}
        if has_skill(baselines):
            described["skill"] = skill(episodes.returns, baselines["teacher"], baselines["blind"])
        return described

    return {
        d.name: {
            "unit": d.unit,
            "none": d.none,
            "levels": [figures(level, episodes) for level, episodes in stats[d.name].items()],
        }
        for d in DISTURBANCES
        if d.name in stats
    }


def _table(curves: Mapping[str, Any], title: str) -> Table:
    table = Table(title=title)
    for column in ("disturbance", "level", "return (95% interval)", "skill", "success"):
        table.add_column(column, justify="left" if column == "disturbance" else "right")
    for name, curve in curves.items():
        for at in curve["levels"]:
            value, low, high = (
                METRICS["return"].written(at["return" + end]) for end in ("", *ENDS)
            )
            others = [
                METRICS[key].written(at[key]) if key in at else "" for key in ("skill", "success")
            ]
            table.add_row(
                name.replace("_", " "), f"{at['level']:g}", f"{value} ({low} to {high})", *others
            )
    return table
