"""Choose the task of a suite's script by `--env NAME`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from Common.errors import UserError
from Common.names import nearest
from Common.program import as_typed
from Enviroment.task import SUITE_SCRIPTS, Suite, Task
from Enviroment.tasks import TASKS


def choose_task(folder: str, suite: Suite, arguments: Sequence[str]) -> tuple[Task, list[str]]:
    """Return the task that `--env` names, and the arguments without it.

    Without `--env`, `--help` prints the environments and exits with code 0.

    Args:
        folder: folder of the script, for messages.
        suite: the suite of the script.

    Raises:
        UserError: `--env` is missing, or the suite has no such environment.
    """
    tasks = {task.name: task for task in TASKS.values() if task.suite == suite}
    script = as_typed(f"python {folder}/{SUITE_SCRIPTS[suite]}.py")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--env")
    try:
        known, rest = first.parse_known_args(arguments)
    except argparse.ArgumentError:  # --env without a value
        raise UserError(f"{script} --env needs one of {', '.join(tasks)}.") from None
    if known.env is None:
        if {"-h", "--help"} & set(rest):
            print(f"{script} --env ENV [flags]\n\nENV is one of {', '.join(tasks)}.")
            print(f"The flags and their defaults: {script} --env {next(iter(tasks))} --help")
            sys.exit(0)
        raise UserError(f"{script} needs --env, one of {', '.join(tasks)}.")
    return _find(known.env, tasks, suite), rest


def _find(given: str, tasks: dict[str, Task], suite: str) -> Task:
    """Return a task by its name or its environment id, ignoring case."""
    for task in tasks.values():
        if given.lower() in (task.name.lower(), task.env_id.lower()):
            return task
    raise UserError(
        f"The {SUITE_SCRIPTS[suite]} suite has no environment {given!r}. "
        f"Did you mean {nearest(given, tasks)}?"
    )
