"""`python -m Distillation.imitability TEACHER`: write its imitability into a teacher's bundle.

Teachers of equal returns differ in how well a student can copy them from what it sees. The same
small run of `--C_data --BC_phase` for each of them measures it.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Common.device import processor_name
from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.runs.run_folder import FIGURES_FILE
from Distillation.flags.parse import default_values, parse
from Distillation.flags.tokens import tokens
from Distillation.run import run
from Enviroment.task import Task
from Enviroment.tasks import TASKS
from Models.bundle import bundle_folder
from Models.teacher.bundle import record_imitability
from Models.teacher.description import Imitability
from Models.teacher.policy import Teacher

if TYPE_CHECKING:
    from Distillation.imitability.__main__ import ImitabilityFlags

_PHASES = ("C_data", "BC_phase")
# Enough for a student of Pusher's pictures to move the object, and too little to equal the teacher:
# a larger budget would bring all teachers closer to 1.
ENV_STEPS, GRADIENT_STEPS, BATCH_SIZE, EPISODES = 10_000, 1_200, 32, 50


def measure_imitability(flags: ImitabilityFlags) -> Imitability:
    """Clone a teacher with a fixed budget, and write the student's figures into its bundle.

    Raises:
        UserError: there is no teacher, its folder cannot be written, or it is not one of a task of
            the toolkit.
    """
    folder = bundle_folder(flags.teacher, "teacher")
    name = Teacher.load(folder).description.task
    if not os.access(folder, os.W_OK):  # before minutes of work
        raise UserError(f"{folder} cannot be written. Copy the teacher, and measure the copy.")
    if name not in TASKS:
        raise UserError(
            f"{folder} is a teacher of {name or 'an environment without a name'}, which is no task "
            "of the toolkit. Imitability is compared between teachers of its own tasks."
        )
    task = TASKS[name]
    mode = _student_mode(task)
    with tempfile.TemporaryDirectory() as output, contextlib.redirect_stdout(io.StringIO()):
        arguments = _arguments(task, folder, mode, Path(output) / "run")
        command = ["python", *f"Distillation/{task.script}".split(), *arguments]
        figures = read_json(run(task, parse(task, arguments), command) / FIGURES_FILE)
    imitability = Imitability(
        *(mode, ENV_STEPS, GRADIENT_STEPS, BATCH_SIZE, EPISODES, processor_name()),
        mean_return=figures["return"],
        skill=figures.get("skill"),
        ratio=figures.get("ratio"),
        success=figures.get("success"),
    )
    print(f"Imitability of {folder}: {imitability}")
    record_imitability(folder, imitability)
    return imitability


def _student_mode(task: Task) -> str:
    """Return the student that the task is published with: in the paper's suites, its default."""
    return default_values(task, _PHASES)["mode"] if task.suite else "ImpaalaSmall"


def _arguments(task: Task, teacher: Path, mode: str, output: Path) -> list[str]:
    """Return the flags of the run. All others have their defaults."""
    settings: dict[str, Any] = {
        "teacher": str(teacher),
        "output": str(output),
        "mode": mode,
        "num_data": ENV_STEPS,
        "optimization_steps": GRADIENT_STEPS,
        "batch_size": BATCH_SIZE,
        "eval_every": GRADIENT_STEPS,
        "eval_episodes": 10,
        "final_episodes": EPISODES,
        # One thread of the CPU, so that a processor repeats its figures.
        "threads": 1,
        "device": "cpu",
        "wandb": "disabled",
        "video": False,
    }
    methods = [f"--{phase}" for phase in _PHASES]
    return [*methods, *tokens(settings, default_values(task, _PHASES))]
