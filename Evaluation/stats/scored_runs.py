"""Runs with their scores: what the tables of `Evaluation.stats.tables` are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from Algorithm.method_registry import LEARNERS
from Common.errors import UserError
from Common.runs.run_folder import FIGURES_FILE
from Evaluation.evaluate.episodes import skill
from Evaluation.runs import Run
from Evaluation.stats.estimates import Statistic, geometric_iqm, iqm
from Evaluation.stats.paper_numbers import human_normalised, suite_of
from Evaluation.table import rows_of

# What may differ between runs that are averaged: the seeds, and with them the teacher.
_SEEDS = {"task", "method", "mode", "teacher_sha256", "seed", "uncorrupted_sha256"}


@dataclass(frozen=True)
class ScoredRun:
    """A finished run. Its scores are returns, those of Atari's games human-normalised."""

    run: Run
    suite: str  # the paper's, else the task itself
    env: str
    method: str
    size: str  # smaller, same, larger; else the student's mode
    score: float
    teacher: float  # without the noise of --corrupt_teacher
    teacher_sha256: str | None  # of that teacher; `run.teacher_sha256` is of the one with noise
    corrupted_teacher: float | None  # with it; None: the teacher had none
    blind: float | None  # of a student that saw nothing


@dataclass(frozen=True)
class Measure:
    """How scores of different environments are made comparable, and averaged."""

    name: str
    statistic: Statistic
    relative: Callable[[ScoredRun, float], float]  # a score, as the measure of that run has it


def _ratio(run: ScoredRun, score: float) -> float:
    return score / run.teacher


def _skill(run: ScoredRun, score: float) -> float:
    assert run.blind is not None  # `measure_of` chooses skill for no other runs
    return skill(np.array([score]), np.array([run.teacher]), np.array([run.blind]))


SCORE = Measure("score (Atari's human-normalised), IQM", iqm, lambda _, score: score)
RATIO = Measure("ratio to the teacher, geometric IQM", geometric_iqm, _ratio)
PLAIN_RATIO = Measure("ratio to the teacher, IQM (not every score is above 0)", iqm, _ratio)
SKILL = Measure("skill (0 blind, 1 teacher), IQM (teachers score below 0)", iqm, _skill)


def measure_of(runs: Sequence[ScoredRun]) -> Measure:
    """The paper's ratio where it means anything, else skill: one measure for all of `runs`.

    Raises:
        UserError: a teacher scores 0 or below, and no blind student's return is known.
    """
    scores = [s for r in runs for s in (r.score, r.corrupted_teacher) if s is not None]
    if all(r.teacher > 0 for r in runs):
        return RATIO if min(scores) > 0 else PLAIN_RATIO
    for r in runs:
        if r.blind is None:
            raise UserError(
                f"{r.run.folder}: with a teacher in this suite that scores 0 or below, no ratio to "
                f"teachers means anything, and the run's {FIGURES_FILE} has no blind_return for "
                "skill. Measure a blind student by `python -m Evaluation.blind`, then evaluate the "
                "run again."
            )
    return SKILL


def score_runs(runs: Sequence[Run]) -> tuple[list[ScoredRun], list[str]]:
    """The runs that have a score, and for each that is left out a line that says why.

    Raises:
        UserError: runs that would be averaged differ by more than their seeds, or by nothing.
    """
    scored, left_out = [], []
    for run in runs:
        reason = _unfit(run)
        if reason is None:
            scored.append(_scored(run))
        else:
            left_out.append(f"{run.folder} {reason}.")
    cells: dict[tuple[object, ...], list[Run]] = {}
    for s in scored:
        key = (s.run.task, s.method, s.size, s.corrupted_teacher is not None)
        cells.setdefault(key, []).append(s.run)
    for cell in cells.values():
        _check_same_experiment(cell)
    return scored, left_out


def _unfit(run: Run) -> str | None:
    if not isinstance(run.method, str):
        return "was written by an older version, which described its method otherwise"
    if run.figures is None:
        return f"was cut short: it has no {FIGURES_FILE}"
    if run.config["student"].get("blind"):
        return "is a blind student, the zero of skill"
    if "teacher_return" not in run.figures:
        return f"has no teacher_return in its {FIGURES_FILE}"
    if _is_imperfect(run) and "corrupted_teacher_return" not in run.figures:
        return f"has no corrupted_teacher_return in its {FIGURES_FILE}"
    return None


def _is_imperfect(run: Run) -> bool:
    return bool(run.config.get("teaching", {}).get("corrupt_teacher"))


def _scored(run: Run) -> ScoredRun:
    figures = run.figures
    assert figures is not None  # `_unfit`
    suite = suite_of(run.task)

    def score(name: str) -> float:
        value = figures[name]
        return human_normalised(run.task, value) if suite == "atari" else value

    return ScoredRun(
        run=run,
        suite=suite or run.task,
        env=run.task,
        method=paper_name(run.method),
        size=str(run.config["student"].get("size") or run.mode),
        score=score("return"),
        teacher=score("teacher_return"),
        teacher_sha256=run.config.get("corruption", {}).get(
            "uncorrupted_sha256", run.teacher_sha256
        ),
        corrupted_teacher=score("corrupted_teacher_return") if _is_imperfect(run) else None,
        blind=score("blind_return") if "blind_return" in figures else None,
    )


def _check_same_experiment(runs: Sequence[Run]) -> None:
    rows = rows_of(runs)
    for flag in sorted(rows[0].names.keys() - _SEEDS):
        values = {row.names[flag]: row.runs[0].folder for row in rows}
        if len(values) > 1:
            examples = "\n".join(f"  --{flag} {value}: {path}" for value, path in values.items())
            raise UserError(
                f"Runs of {runs[0].task} by {runs[0].method} would be averaged, though they differ "
                f"by more than their seeds:\n{examples}\nName the runs of one value alone."
            )
    seen: dict[tuple[object, ...], Run] = {}
    for run in runs:
        same = seen.setdefault((run.run_index, run.teacher_sha256), run)
        if same is not run:
            raise UserError(
                f"{same.folder} and {run.folder} are one experiment with the same run_index and "
                "teacher, and would count twice. Name one of them."
            )


def paper_name(method: str) -> str:
    """Return the method's name in the paper's tables; a method without one keeps its own."""
    return (LEARNERS[method].paper_name or method) if method in LEARNERS else method
