"""The commands of the scripts of tasks and suites: parse the flags, then run the method."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from Common.commands.exits import exit_with_message, print_line
from Common.errors import fields_as_flags
from Common.openmp import prepare_openmp
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import default_values, parse
from Distillation.flags.uses import unused_flags_note
from Enviroment.suites.choice import choose_task
from Enviroment.task import Suite
from Enviroment.tasks import Task, get_task


def main(
    task: str | Task,
    arguments: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr.

    Args:
        task: name of a registered task, or a task.
        arguments: the flags; by default those of the command line.
        command: the command as typed; by default the task's script with the flags.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message(), fields_as_flags(FLAG_NAMES):
        task = get_task(task) if isinstance(task, str) else task
        flags = parse(task, arguments)
        note = unused_flags_note(
            flags, default_values(task, flags.method.phases, flags.student.mode)
        )
    prepare_openmp()
    # After parsing, because torch, SB3 and W&B take seconds of processor time to import.
    from Distillation.run import run_command

    if note:
        print_line(note)
    script = ["python", *f"Distillation/{task.script}".split()]
    run_command(task, flags, command or [*script, *arguments])


def main_suite(suite: Suite, arguments: Sequence[str] | None = None) -> None:
    """Run the command of a suite: `--env` chooses the task, all other flags are those of the task.

    Bad input exits with code 2 and one message on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message():
        task, rest = choose_task("Distillation", suite, arguments)
    main(task, rest)
