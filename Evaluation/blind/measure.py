"""`python -m Evaluation.blind RUN`: write R_blind, the zero of skill, into a teacher's bundle.

RUN is a run of `Distillation/<Task>.py --PPD --blind`: a student trained with its frames zeroed.
Its returns are stored in the bundle beside the teacher's, so that skill can be computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.errors import UserError
from Common.names import counted
from Enviroment import seeds
from Enviroment.custom import rules_of
from Evaluation.evaluate.episodes import run_episodes
from Evaluation.evaluate.subject import open_subject
from Evaluation.runs import read_run
from Models.teacher.adoption import adopt
from Models.teacher.bundle import check_rules
from Models.teacher.policy import Teacher, record_baseline
from Models.teacher.shipped import default_teacher

if TYPE_CHECKING:
    from Evaluation.blind.__main__ import BlindFlags


def measure_blind(flags: BlindFlags) -> dict[str, list[float]]:
    """Evaluate a blind student and write its returns.

    Returns:
        The returns as written, by block of seeds.

    Raises:
        UserError: the run is not blind, or had another teacher.
    """
    run = read_run(flags.run)
    if not run.config["student"].get("blind"):
        raise UserError(f"{flags.run} is not a blind run. Train a student with --blind.")
    subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
    task, act = subject.task, subject.act()
    folder = flags.teacher or default_teacher(task.name)
    loaded = Teacher.load(folder)
    stored, teacher = loaded.description, adopt(loaded, task).description
    identity = run.teacher_identity or teacher.identity
    if (teacher.sha256, teacher.identity) != (run.teacher_sha256, identity):
        raise UserError(f"{flags.run} learned from another teacher than the one in {folder}.")
    check_rules(folder, stored.baselines, stored.rules, "blind", rules_of(task))
    env = subject.make_env(flags.episodes)
    try:
        stats = {
            name: run_episodes(act, env, task, block.start, flags.episodes)
            for name, block in {
                "validation": seeds.VALIDATION,
                "evaluation": seeds.EVALUATION,
            }.items()
        }
    finally:
        env.close()
    returns = {name: s.returns.round(4).tolist() for name, s in stats.items()}
    successes = {name: s.successes for name, s in stats.items() if s.successes is not None}
    record_baseline(folder, "blind", returns, successes, rules_of(task))
    for name, s in stats.items():
        seeds_played = counted(flags.episodes, f"{name} seed")
        success = "" if s.success is None else f" and success {s.success.mean():.0%}"
        print(
            f"Return of blind on {seeds_played}: {s.returns.mean():.2f}{success}, written to "
            f"{folder}"
        )
    return returns
