"""Evaluate one student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.vec_env import VecEnv

from Common.device import torch_threads
from Common.files.bounded_read import read_json
from Common.runs.run_folder import FIGURES_FILE
from Enviroment import seeds
from Evaluation.evaluate.agreement import agreement_measures, can_be_asked, has_kl
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Evaluation.evaluate.figures import evaluate_student, figures_table
from Evaluation.evaluate.latency import measure_latency, measure_size
from Evaluation.evaluate.seed_range import describe_seeds
from Evaluation.evaluate.subject import (
    ReferenceTeacher,
    Subject,
    find_teacher,
    open_subject,
)
from Evaluation.export.formats import FILE_NAMES
from Evaluation.export.student_file import check_format, export_subject
from Evaluation.metrics import ID, TEACHER_STATES
from Evaluation.tool import print_note, write_json

if TYPE_CHECKING:
    from Evaluation.evaluate.__main__ import EvaluateFlags

Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """Figures of a student, and what they are of."""

    figures: Figures
    subject: Subject
    differs: str  # how they differ from the evaluation at the end of a run; "" if they do not


def evaluate(flags: EvaluateFlags) -> Figures:
    """Evaluate a student, print the table and write the figures.

    Returns:
        See `measure`.

    Raises:
        UserError: see `measure`; or packages that `export` needs are not installed.
    """
    if flags.export is not None:
        flags.seed_range()  # raises, before anything is written
        check_format(flags.export)
        subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
        export_subject(subject, flags.export, subject.bundle / FILE_NAMES[flags.export])
    measured = measure(flags)
    _write(measured, flags.output)
    title = f"The student on {describe_seeds(flags.seed_range())}"
    Console().print(figures_table(measured.figures, measured.subject.task, title))
    return measured.figures


def measure(flags: EvaluateFlags) -> Measured:
    """Evaluate a student.

    Returns:
        The figures of `figures.evaluate_student` and, if known, `action_accuracy` and `kl` in the
        student's states; the same in the teacher's states as `teacher_states_*`; all of these on
        training seeds as `id_*`; `latency_*_ms`, `parameters`, `bytes`, and `threads`, on which
        the last digits depend. `stochastic` is present if it is on.

    Raises:
        UserError: there is no student, the seeds are unknown, or the given teacher is missing or
            belongs to another task.
    """
    episodes = flags.seed_range()
    subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
    if flags.blind:
        subject.check_frames()
    threads = flags.threads or subject.threads
    with torch_threads(threads):
        blind = flags.blind or subject.blind
        env = subject.make_env(len(episodes), blind=blind)
        try:
            reference = find_teacher(subject, flags.teacher)
            if reference is not None and not _is_comparable(reference, env, subject, blind):
                reference = None
            figures = _figures(subject, reference, env, episodes, flags.stochastic)
        finally:
            env.close()
    figures |= measure_latency(subject.student)
    figures |= {**measure_size(subject.student, subject.bundle), "threads": threads}
    if flags.stochastic:
        figures["stochastic"] = True
    differences = {
        "is on other seeds than the first ones for evaluation": (
            episodes.start != seeds.EVALUATION.start
        ),
        "samples its actions": flags.stochastic,
        "zeroes the frames of a student that was trained with frames": blind != subject.blind,
        "has another teacher": reference is not None and not reference.is_own,
    }
    differs = " and ".join(what for what, does in differences.items() if does)
    return Measured(figures, subject, differs)


def _is_comparable(reference: ReferenceTeacher, env: VecEnv, subject: Subject, blind: bool) -> bool:
    """Return whether the teacher can act in these environments; print a note on what is omitted."""
    groups, space = reference.teacher.observation_groups, env.observation_space
    assert isinstance(space, spaces.Dict)
    if not set(groups) <= space.spaces.keys():
        print_note(
            f"The teacher observes {', '.join(groups)}, which the student's environments do not "
            "provide. Omitting figures that need a teacher."
        )
        return False
    if not can_be_asked(reference.teacher, blind=blind):
        print_note(
            "The teacher observes frames, which are zeroed here. Omitting figures that need a "
            "teacher."
        )
        return False
    reference.teacher.check_fits(subject.task.name, space, env.action_space)
    if not has_kl(reference.teacher, subject.student):
        print_note(
            f"There is no exact KL between a {reference.teacher.description.family} teacher and a "
            f"{subject.student.config.family} student. Omitting it."
        )
    return True


def _figures(
    subject: Subject,
    reference: ReferenceTeacher | None,
    env: VecEnv,
    episodes: range,
    stochastic: bool,
) -> Figures:
    """Return the figures on the given seeds and on training seeds."""
    figures = _on_seeds(subject, reference, env, episodes, stochastic)
    first = subject.id_seed
    if first is None:
        print_note(f"{subject.folder} does not name its training seeds. Omitting figures on them.")
        return figures
    trained = range(first, first + len(episodes))
    return figures | _prefixed(ID, _on_seeds(subject, reference, env, trained, stochastic))


def _on_seeds(
    subject: Subject,
    reference: ReferenceTeacher | None,
    env: VecEnv,
    episodes: range,
    stochastic: bool,
) -> Figures:
    student = subject.student
    span = {"task": subject.task, "n_episodes": len(episodes), "first_seed": episodes.start}
    if reference is None:
        return evaluate_student(subject.act(stochastic=stochastic), env, baselines={}, **span)
    teacher, compared = reference.teacher, policy_act(reference.teacher)
    torch.manual_seed(seeds.model(0))  # for sampled actions
    by_mode = subject.task.judged_by_mode and not stochastic
    measures = agreement_measures(teacher, student, env, other=policy_act(student))
    stats = run_episodes(policy_act(teacher, by_mode), env, measures=measures, **span)
    name = "corrupted_teacher" if reference.is_corrupted else "teacher"
    of_teacher = {f"{name}_return": float(stats.returns.mean())}
    if stats.success is not None:
        of_teacher[f"{name}_success"] = float(stats.success.mean())
    means = {measure: float(values.mean()) for measure, values in stats.measures.items()}
    figures = evaluate_student(
        subject.act(stochastic=stochastic),
        env,
        measures=agreement_measures(teacher, student, env, other=compared),
        baselines=reference.baselines,
        successes=reference.successes,
        replayed={name: stats} if stochastic else {},
        **span,
    )
    return of_teacher | figures | _prefixed(TEACHER_STATES, means)


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {prefix + name: value for name, value in figures.items()}


def _write(measured: Measured, output: Path | None) -> None:
    """Write to `--output`, or to the run's own file unless that would lose figures."""
    figures, subject = measured.figures, measured.subject
    path = output or subject.folder / FIGURES_FILE
    if output is None:
        if subject.run is None:
            return
        if reason := measured.differs or _shortcoming(figures, path):
            print_note(
                f"{path} is not replaced: this evaluation {reason}. Use --output to write it."
            )
            return
    write_json(path, figures)
    print(f"Written to {path}")


def _shortcoming(figures: Mapping[str, float], path: Path) -> str:
    """Return why these figures do not replace those of a file, or ""."""
    try:
        written = read_json(path)
    except (OSError, ValueError):
        return ""
    if not isinstance(written, dict) or type(written.get("episodes", 0)) is not int:
        return ""
    if figures["episodes"] < written.get("episodes", 0):
        return f"has fewer episodes than its {written['episodes']}"
    missing = sorted(written.keys() - figures.keys())
    return f"lacks figures that it holds: {', '.join(missing)}" if missing else ""
