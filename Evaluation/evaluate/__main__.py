"""`python -m Evaluation.evaluate RUN`: a student on unseen seeds, from its bundle."""

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
from Evaluation.evaluate.subject import Subject, Taught, TaughtFlags, find_teacher, open_subject
from Evaluation.export import FILE_NAMES, Format, check_format, export_subject
from Evaluation.metrics import ID, TEACHER_STATES
from Evaluation.tool import note, run_tool, write_json

Figures = dict[str, float]


@dataclass(frozen=True)
class EvaluateFlags(TaughtFlags):
    """Evaluate a student: return, skill, agreement with its teacher, time an action, size.

    On seeds that neither trained nor chose it, and beside them on those that it began to train
    with. A run's evaluation.json is replaced if it is this evaluation over no fewer episodes.
    """

    output: Path | None = None  # JSON; default: a run's evaluation.json
    stochastic: bool = False  # sample actions, as games are played anyway
    blind: bool = False  # zero the frames, for a blind student whose bundle does not say so
    export: Format | None = None  # write the deployed student beside its bundle's weights, too


def evaluate(flags: EvaluateFlags) -> Figures:
    """Prints the table and writes the figures.

    Returns:
        `figures.evaluate_student` and, where they are known, `action_accuracy` and `kl` in the
        student's states; the same in the teacher's as `teacher_states_*`; all of it on training's
        seeds as `id_*`; `latency_*_ms`, `parameters`, `bytes`, and `threads`, on which the last
        digits depend. `stochastic` is there if it is on.

    Raises:
        UserError: there is no student, the seeds are not known, the teacher that was given is
            missing or of another task, or what `export` needs is not installed.
    """
    episodes = flags.seed_range()
    if flags.export is not None:
        check_format(flags.export)
    subject = open_subject(flags.run, flags.env_id)
    if flags.blind:
        subject.check_frames()
    if flags.export is not None:
        export_subject(subject, flags.export, subject.bundle / FILE_NAMES[flags.export])
    threads = flags.threads or subject.threads
    with torch_threads(threads):
        blind = flags.blind or subject.blind
        env = subject.make_env(len(episodes), blind=blind)
        try:
            taught = find_teacher(subject, flags.teacher)
            if taught is not None and not _is_comparable(taught, env, subject, blind):
                taught = None
            figures = _figures(subject, taught, env, episodes, flags.stochastic)
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
        and (taught is None or taught.is_own)
    )
    _write(figures, subject, flags.output, is_own)
    title = f"The student on {describe_seeds(episodes)}"
    Console().print(figures_table(figures, subject.task, title))
    return figures


def _is_comparable(taught: Taught, env: VecEnv, subject: Subject, blind: bool) -> bool:
    """Whether the teacher can be asked in these environments; what cannot be told is said."""
    groups, space = taught.teacher.observation_groups, env.observation_space
    assert isinstance(space, spaces.Dict)
    if not set(groups) <= space.spaces.keys():
        note(f"The teacher reads {', '.join(groups)}, the student's environments show it not.")
        return False
    if not can_be_asked(taught.teacher, blind=blind):
        note("The teacher sees frames, and here they are zeroed: it is left out.")
        return False
    taught.teacher.check_fits(subject.task.name, space, env.action_space)
    if not has_kl(taught.teacher, subject.student):
        note(
            f"A {subject.student.config.family} student has no exact KL to a "
            f"{taught.teacher.description.family} teacher: it is left out."
        )
    return True


def _figures(
    subject: Subject, taught: Taught | None, env: VecEnv, episodes: range, stochastic: bool
) -> Figures:
    """On the seeds that were asked for, and on those of training."""
    figures = _on_seeds(subject, taught, env, episodes, stochastic)
    first = subject.id_seed
    if first is None:
        note(f"{subject.folder} does not say which seeds it trained on: they are left out.")
        return figures
    trained = range(first, first + len(episodes))
    return figures | _prefixed(ID, _on_seeds(subject, taught, env, trained, stochastic))


def _on_seeds(
    subject: Subject, taught: Taught | None, env: VecEnv, episodes: range, stochastic: bool
) -> Figures:
    student, act = subject.student, subject.act(stochastic=stochastic)
    where = {"task": subject.task, "n_episodes": len(episodes), "first_seed": episodes.start}
    if taught is None:
        return evaluate_student(act, env, baselines={}, **where)
    teacher, by_mode = policy_act(taught.teacher), subject.task.judged_by_mode
    measures = agreement_measures(taught.teacher, student, env, other=teacher)
    figures = evaluate_student(act, env, baselines=taught.baselines, measures=measures, **where)
    measures = agreement_measures(taught.teacher, student, env, other=policy_act(student))
    teacher_act = policy_act(taught.teacher, deterministic=by_mode)
    stats = run_episodes(teacher_act, env, measures=measures, **where)
    name = "corrupted_teacher" if taught.is_corrupted else "teacher"
    played = {f"{name}_return": float(stats.returns.mean())}
    means = {measure: float(values.mean()) for measure, values in stats.measures.items()}
    return played | figures | _prefixed(TEACHER_STATES, means)


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {prefix + name: value for name, value in figures.items()}


def _write(figures: Figures, subject: Subject, output: Path | None, is_own: bool) -> None:
    """To `--output`; to a run's own file only what says no less than what is there.

    Args:
        is_own: it is the evaluation of a run's end: its seeds, actions, teacher, what it sees.
    """
    path = output or subject.folder / FIGURES_FILE
    if output is None:
        if subject.run is None:
            return
        if not is_own or _is_less(figures, path):
            note(f"{path} stays as it is: it holds another evaluation. --output writes this one.")
            return
    write_json(path, figures)
    print(f"Written to {path}")


def _is_less(figures: Mapping[str, float], path: Path) -> bool:
    """Whether a file holds figures over more episodes, or some that these lack."""
    try:
        there = read_json(path)
    except (OSError, ValueError):
        return False
    if not isinstance(there, dict) or type(there.get("episodes", 0)) is not int:
        return False
    is_shorter = figures["episodes"] < there.get("episodes", 0)
    return is_shorter or not there.keys() <= figures.keys()


def main() -> None:
    """The command."""
    run_tool(EvaluateFlags, "Evaluation.evaluate", evaluate)


if __name__ == "__main__":
    main()
