"""`python -m Evaluation.evaluate RUN`: evaluate a student's bundle on unseen seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    TeacherFlags,
    find_teacher,
    open_subject,
)
from Evaluation.export import FILE_NAMES, Format, check_format, export_subject
from Evaluation.metrics import ID, TEACHER_STATES
from Evaluation.tool import print_note, run_tool, write_json

Figures = dict[str, float]


@dataclass(frozen=True)
class EvaluateFlags(TeacherFlags):
    """Evaluate a student: return, skill, agreement with its teacher, time per action, size.

    Uses seeds that were used neither for training nor for selection and, for comparison, the first
    seeds of training. Replaces a run's evaluation.json if that holds the same evaluation over no
    more episodes.
    """

    output: Path | None = None  # JSON; default: a run's evaluation.json
    stochastic: bool = False  # sample actions (always the case for games)
    blind: bool = False  # zero the frames, for a blind student with an old bundle
    export: Format | None = None  # also write the deployed student into its bundle


def evaluate(flags: EvaluateFlags) -> Figures:
    """Evaluate a student, print the table and write the figures.

    Returns:
        The figures of `figures.evaluate_student` and, if known, `action_accuracy` and `kl` in the
        student's states; the same in the teacher's states as `teacher_states_*`; all of these on
        training seeds as `id_*`; `latency_*_ms`, `parameters`, `bytes`, and `threads`, on which
        the last digits depend. `stochastic` is present if it is on.

    Raises:
        UserError: there is no student, the seeds are unknown, the given teacher is missing or
            belongs to another task, or packages that `export` needs are not installed.
    """
    episodes = flags.seed_range()
    if flags.export is not None:
        check_format(flags.export)
    subject = open_subject(flags.run, flags.env_id, flags.wrapper)
    if flags.blind:
        subject.check_frames()
    if flags.export is not None:
        export_subject(subject, flags.export, subject.bundle / FILE_NAMES[flags.export])
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
    is_own = (
        episodes.start == seeds.EVALUATION.start
        and not flags.stochastic
        and blind == subject.blind
        and (reference is None or reference.is_own)
    )
    _write(figures, subject, flags.output, is_own)
    title = f"The student on {describe_seeds(episodes)}"
    Console().print(figures_table(figures, subject.task, title))
    return figures


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
    student, act = subject.student, subject.act(stochastic=stochastic)
    span = {"task": subject.task, "n_episodes": len(episodes), "first_seed": episodes.start}
    if reference is None:
        return evaluate_student(act, env, baselines={}, **span)
    teacher, by_mode = policy_act(reference.teacher), subject.task.judged_by_mode
    measures = agreement_measures(reference.teacher, student, env, other=teacher)
    figures = evaluate_student(act, env, baselines=reference.baselines, measures=measures, **span)
    measures = agreement_measures(reference.teacher, student, env, other=policy_act(student))
    teacher_act = policy_act(reference.teacher, deterministic=by_mode)
    stats = run_episodes(teacher_act, env, measures=measures, **span)
    name = "corrupted_teacher" if reference.is_corrupted else "teacher"
    teacher_return = {f"{name}_return": float(stats.returns.mean())}
    means = {measure: float(values.mean()) for measure, values in stats.measures.items()}
    return teacher_return | figures | _prefixed(TEACHER_STATES, means)


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {prefix + name: value for name, value in figures.items()}


def _write(figures: Figures, subject: Subject, output: Path | None, is_own: bool) -> None:
    """Write to `--output`, or to the run's own file unless that would lose figures.

    Args:
        is_own: whether seeds, actions, teacher and observations are those of the evaluation at the
            end of a run.
    """
    path = output or subject.folder / FIGURES_FILE
    if output is None:
        if subject.run is None:
            return
        if not is_own or _has_fewer_figures(figures, path):
            print_note(
                f"Keeping {path}, which holds another evaluation. Use --output to write this one."
            )
            return
    write_json(path, figures)
    print(f"Written to {path}")


def _has_fewer_figures(figures: Mapping[str, float], path: Path) -> bool:
    """Return whether a file holds figures over more episodes, or figures that these lack."""
    try:
        written = read_json(path)
    except (OSError, ValueError):
        return False
    if not isinstance(written, dict) or type(written.get("episodes", 0)) is not int:
        return False
    is_shorter = figures["episodes"] < written.get("episodes", 0)
    return is_shorter or not written.keys() <= figures.keys()


def main() -> None:
    """Run the command."""
    run_tool(EvaluateFlags, "Evaluation.evaluate", evaluate)


if __name__ == "__main__":
    main()
