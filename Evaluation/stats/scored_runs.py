"""Score runs for the tables of `Evaluation.stats.tables`."""

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

# Flags that may differ between averaged runs: the seeds, and the teacher, which depends on them.
_SEEDS = {"task", "method", "mode", "teacher_sha256", "seed", "uncorrupted_sha256"}


@dataclass(frozen=True)
class ScoredRun:
    """A finished run with its scores, which are returns, human-normalised in Atari."""

    run: Run
    suite: str  # of the paper, else the task
    env: str
    method: str
    size: str  # smaller, same or larger, else the student's mode
    score: float
    teacher: float  # without the noise of --corrupt_teacher
    teacher_sha256: str | None  # without noise; `run.teacher_sha256` is with noise
    corrupted_teacher: float | None  # with noise; None if there is none
    blind: float | None  # of a blind student


@dataclass(frozen=True)
class Measure:
    """A method to normalise and average scores of different environments."""

    name: str
    statistic: Statistic
    relative: Callable[[ScoredRun, float], float]  # normalises a score of a run


def _ratio(run: ScoredRun, score: float) -> float:
    return score / run.teacher


def _skill(run: ScoredRun, score: float) -> float:
    assert run.blind is not None  # guaranteed by `measure_of`
    return skill(np.array([score]), np.array([run.teacher]), np.array([run.blind]))


SCORE = Measure("score (Atari's human-normalised), IQM", iqm, lambda _, score: score)
RATIO = Measure("ratio to the teacher, geometric IQM", geometric_iqm, _ratio)
PLAIN_RATIO = Measure("ratio to the teacher, IQM (not every score is above 0)", iqm, _ratio)
SKILL = Measure("skill (0 blind, 1 teacher), IQM (teachers score below 0)", iqm, _skill)


def measure_of(runs: Sequence[ScoredRun]) -> Measure:
    """Return the paper's ratio if it is defined for all runs, else skill.

    Raises:
        UserError: a teacher scores 0 or below, and no blind student's return is known.
    """
    scores = [s for r in runs for s in (r.score, r.corrupted_teacher) if s is not None]
    if all(r.teacher > 0 for r in runs):
        return RATIO if min(scores) > 0 else PLAIN_RATIO
    for r in runs:
        if r.blind is None:
            raise UserError(
                f"{r.run.folder}: a teacher in this suite scores 0 or below, so ratios to teachers "
                f"are undefined, and the run's {FIGURES_FILE} has no blind_return for skill. "
                "Evaluate a blind student by `python -m Evaluation.blind`, then evaluate the run "
                "again."
            )
    return SKILL


def score_runs(runs: Sequence[Run]) -> tuple[list[ScoredRun], list[str]]:
    """Return the runs with scores, and a remark on each omitted run.

    Raises:
        UserError: runs to be averaged differ by more than their seeds, or are the same.
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
        return "was written by an older version with another description of methods"
    if run.figures is None:
        return f"was cut short: it has no {FIGURES_FILE}"
    if run.config["student"].get("blind"):
        return "is of a blind student, which defines zero skill"
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
                f"Runs of {runs[0].task} by {runs[0].method} cannot be averaged, since they differ "
                f"by more than their seeds:\n{examples}\nGive only the runs of one value."
            )
    seen: dict[tuple[object, ...], Run] = {}
    for run in runs:
        same = seen.setdefault((run.run_index, run.teacher_sha256), run)
        if same is not run:
            raise UserError(
                f"{same.folder} and {run.folder} are the same experiment with the same run_index "
                "and teacher. Give only one of them."
            )


def paper_name(method: str) -> str:
    """Return the method's name in the paper's tables, else its own name."""
    return (LEARNERS[method].paper_name or method) if method in LEARNERS else method
