"""`python -m Evaluation.evaluate RUN`: a student on unseen seeds, from its bundle."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from Enviroment import seeds
from Enviroment.errors import EXIT_BAD_INPUT, UserError
from Enviroment.make import make_env
from Enviroment.observations import FRAME
from Enviroment.tasks import get_task
from Evaluation.evaluate import policy_act
from Evaluation.figures import FIGURES_FILE, evaluate_student, figures_table
from Evaluation.run_folder import STUDENT, default_teacher
from Models.bundle import read_bundle
from Models.student_bundle import load_student
from Models.teacher import Teacher

_ENVS = 10


@dataclass(frozen=True)
class EvaluateFlags:
    """Evaluate a student on seeds that neither trained nor chose it."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder, or a student's bundle
    teacher: Path | None = None  # bundle; default: Results/<task>/teachers/sac
    episodes: int = 50
    blind: bool = False  # zero the frames, as a blind student was trained


def evaluate(flags: EvaluateFlags) -> dict[str, float]:
    """Prints the table; for a run folder writes `evaluation.json` too.

    Raises:
        UserError: the bundle or the teacher is missing or damaged, or of another task.
    """
    if flags.episodes < 1:
        raise UserError(f"--episodes {flags.episodes} must be at least 1.")
    is_run = (flags.run / STUDENT).is_dir()
    bundle = flags.run / STUDENT if is_run else flags.run
    student = load_student(bundle)
    task = get_task(read_bundle(bundle, "student")[1].get("task", ""))
    groups = student.all_groups().spaces
    if FRAME in groups:
        shape = groups[FRAME].shape or (0, 0, 0)  # (stack, H, W)
        task = dataclasses.replace(task, frame_size=(shape[1], shape[2]))
    teacher = Teacher.load(flags.teacher or default_teacher(task.name))
    blind = flags.blind or FRAME not in groups
    env = make_env(task, min(_ENVS, flags.episodes), seeds.EVALUATION.start, blind=blind)
    try:
        baselines = teacher.description.baselines
        figures = evaluate_student(policy_act(student), env, task, baselines, flags.episodes)
    finally:
        env.close()
    if is_run:
        (flags.run / FIGURES_FILE).write_text(json.dumps(figures, indent=1) + "\n")
    Console().print(figures_table(figures, task))
    return figures


def main() -> None:
    """The command. Bad input ends it with exit code 2 and one message on stderr."""
    try:
        evaluate(
            tyro.cli(EvaluateFlags, prog="python -m Evaluation.evaluate", use_underscores=True)
        )
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
