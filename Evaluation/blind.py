"""`python -m Evaluation.blind RUN`: write R_blind, the zero of skill, into a teacher's bundle.

RUN is a run of `Distillation/<Task>.py --PPD --blind`: a student trained with its frames zeroed.
Its returns are stored in the bundle beside the teacher's, so that skill can be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Common.errors import UserError
from Enviroment import seeds
from Evaluation.evaluate.episodes import run_episodes
from Evaluation.evaluate.subject import open_subject
from Evaluation.runs import read_run
from Evaluation.tool import run_tool
from Models.teacher.adoption import adopt
from Models.teacher.policy import Teacher, record_baseline
from Models.teacher.shipped import default_teacher


@dataclass(frozen=True)
class BlindFlags:
    """Evaluate a blind student, and write its returns into its teacher's bundle."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of a run with --blind
    teacher: Path | None = None  # bundle, or run with one; default: Results/<task>/teachers/sac
    env_id: str | None = None  # package:Id-v0 of the student's task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    episodes: int = 100  # on validation seeds, and as many on evaluation seeds


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
    subject = open_subject(flags.run, flags.env_id, flags.wrapper)
    task, act = subject.task, subject.act()
    folder = flags.teacher or default_teacher(task.name)
    teacher = adopt(Teacher.load(folder), task).description
    identity = run.teacher_identity or teacher.identity
    if (teacher.sha256, teacher.identity) != (run.teacher_sha256, identity):
        raise UserError(f"{flags.run} learned from another teacher than the one in {folder}.")
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
    record_baseline(folder, "blind", returns)
    for name, s in stats.items():
        print(
            f"Return of blind on {flags.episodes} {name} seeds: {s.returns.mean():.2f}, "
            f"written to {folder}"
        )
    return returns


if __name__ == "__main__":
    run_tool(BlindFlags, "Evaluation.blind", measure_blind)
