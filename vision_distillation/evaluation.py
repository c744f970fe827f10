"""Evaluate a student from Python."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.measure import measure
from vision_distillation.student import Student


def evaluate(
    student: Student | Path | str,
    episodes: int = 100,
    *,
    seeds: str = "evaluation",
    teacher: Path | str | None = None,
    stochastic: bool = False,
    threads: int | None = None,
    env_id: str | None = None,
) -> dict[str, float]:
    """Return the figures of `python -m Evaluation.evaluate`, without printing or writing them.

    Args:
        student: a student, a run folder or a bundle.
        episodes: number of whole episodes, on the given seeds and on training seeds.
        seeds: evaluation, validation, or FIRST:STOP.
        teacher: bundle to compare with; default: its own teacher.
        stochastic: sample the actions.
        threads: threads of torch; default: as in training. Affects the last digits.
        env_id: `package:Id-v0` of its task, which imports the package.

    Returns:
        The figures of `Evaluation.evaluate.measure.measure`.

    Raises:
        UserError: there is no student, it has no environment, or the seeds are unknown.
    """
    folder = student.folder if isinstance(student, Student) else Path(student)
    if isinstance(student, Student) and env_id is None and not student.task.described:
        env_id = student.task.env_id
    flags = EvaluateFlags(
        folder,
        episodes,
        seeds,
        threads=threads,
        env_id=env_id,
        teacher=None if teacher is None else Path(teacher),
        stochastic=stochastic,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return measure(flags).figures
