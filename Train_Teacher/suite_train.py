"""Scripts of a suite: `--env` chooses the task, all other flags are those of the task."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from Common.commands.exits import exit_with_message
from Enviroment.suites.choice import choose_task
from Enviroment.task import Suite
from Train_Teacher.command import main


def main_suite(suite: Suite, arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message():
        task, rest = choose_task("Train_Teacher", suite, arguments)
    main(task.name, rest)
