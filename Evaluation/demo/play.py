"""Play a student, its teacher and the policy that does nothing, tabulate and film them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from Common.device import torch_threads
from Common.errors import UserError
from Common.files.durable import writing
from Common.places import RESULTS, SHIPPED
from Enviroment import seeds
from Enviroment.make import make_env, make_state_env
from Evaluation.evaluate.episodes import EpisodeStats, do_nothing, policy_act, run_episodes, skill
from Evaluation.evaluate.figures import baselines_on
from Evaluation.evaluate.seed_range import describe_seeds
from Evaluation.evaluate.subject import ReferenceTeacher, Subject, find_teacher, open_subject
from Evaluation.metrics import METRICS
from Evaluation.side_by_side.__main__ import SideBySideFlags
from Evaluation.side_by_side.film import film

if TYPE_CHECKING:
    from Evaluation.demo.__main__ import DemoFlags

# The shipped student with the best return, and the teacher that it learned from.
SHOWN_STUDENT = SHIPPED / "Pusher" / "students" / "ppd_quick"
SHOWN_TEACHER = SHIPPED / "Pusher" / "teachers" / "ppo"
_TEACHER, _STUDENT, _BLIND, _NOTHING = "teacher", "student", "blind student", "does nothing"
_COLUMNS = ("return", "success", "distance", "skill")  # of the table, as in `METRICS`
_ENVS = 10  # parallel environments


def show_demo(flags: DemoFlags) -> dict[str, dict[str, float]]:
    """Play, print the table and write the video.

    Returns:
        By policy: `return` and, if known, `success`, `distance` in metres, and `skill`.

    Raises:
        UserError: there is no student, its teacher is not found, a flag is out of range, or
            the video cannot be written.
    """
    if flags.episodes < 1:
        raise UserError(f"--episodes {flags.episodes} must be at least 1.")
    folder, teacher = flags.student or SHOWN_STUDENT, flags.teacher
    if flags.student is None and teacher is None:
        teacher = SHOWN_TEACHER
    subject = open_subject(folder, flags.env_id, flags.wrapper, flags.encoder)
    reference = find_teacher(subject, teacher)
    if reference is None:
        raise UserError(f"The demo needs the teacher of {folder}. Give it with --teacher.")
    output = flags.output
    if output is None:
        output = RESULTS / subject.task.name / "demo" / "demo.mp4"
        with writing(output.parent, "Name a file with --output."):
            output.parent.mkdir(parents=True, exist_ok=True)
    with torch_threads(1):  # enough for few episodes, and as fast beside other work
        played = _play(subject, reference, flags.episodes)
    span = range(seeds.EVALUATION.start, seeds.EVALUATION.start + flags.episodes)
    figures = _figures(played, baselines_on(reference.baselines, span).get("blind"))
    Console().print(_table(figures, f"{subject.task.name} on {describe_seeds(span)}"))
    filmed = SideBySideFlags(
        runs=(folder,),
        teacher=teacher,
        env_id=flags.env_id,
        wrapper=flags.wrapper,
        output=output,
    )
    film(filmed, "Evaluation.demo")
    return figures


def _play(
    subject: Subject, reference: ReferenceTeacher, n_episodes: int
) -> dict[str, EpisodeStats]:
    """Return the episodes of each policy on the same evaluation seeds."""
    task, first = subject.task, seeds.EVALUATION.start
    make = make_state_env if task.has_state else make_env
    played = {}
    with contextlib.closing(make(task, min(_ENVS, n_episodes), first)) as env:
        act = policy_act(reference.teacher, deterministic=task.judged_by_mode)
        played[_TEACHER] = run_episodes(act, env, task, first, n_episodes)
        idle = do_nothing(env.action_space)
        played[_NOTHING] = run_episodes(idle, env, task, first, n_episodes)
    with contextlib.closing(subject.make_env(n_episodes)) as env:
        played[_STUDENT] = run_episodes(subject.act(), env, task, first, n_episodes)
    return played


def _figures(
    played: Mapping[str, EpisodeStats], blind: np.ndarray | None
) -> dict[str, dict[str, float]]:
    """Return the figures of each policy, in the order of the table.

    Args:
        blind: returns of a blind student on these seeds, if known; skill is relative to them.
    """
    returns = {name: stats.returns for name, stats in played.items()}
    if blind is not None:
        returns[_BLIND] = blind
    has_skill = blind is not None and returns[_TEACHER].mean() > blind.mean()
    figures = {}
    for name in (_TEACHER, _STUDENT, _BLIND, _NOTHING):
        if name not in returns:
            continue
        figures[name] = {"return": float(returns[name].mean())}
        stats = played.get(name)
        if stats is not None and stats.distances is not None and stats.success is not None:
            figures[name]["success"] = float(stats.success.mean())
            figures[name]["distance"] = float(stats.distances.mean())
        if has_skill:
            figures[name]["skill"] = skill(returns[name], returns[_TEACHER], returns[_BLIND])
    return figures


def _table(figures: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Return the figures as a table; a figure that is not known is left empty."""
    table = Table(title=title)
    table.add_column("")
    columns = [key for key in _COLUMNS if any(key in own for own in figures.values())]
    for key in columns:
        table.add_column(METRICS[key].heading, justify="right")
    for name, own in figures.items():
        cells = (METRICS[key].written(own[key]) if key in own else "" for key in columns)
        table.add_row(name, *cells)
    return table
