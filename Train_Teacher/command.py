"""The command of a teacher script: parse the flags, then train.

`python Train_Teacher/<Task>.py --algo {sac,tqc,ppo,reinforce,actor_critic}`; `--help` lists flags.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

import tyro

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Common.openmp import prepare_openmp
from Common.program import as_typed
from Enviroment.suites.choice import choose_task
from Enviroment.task import Suite
from Enviroment.tasks import Task, get_task
from Train_Teacher.settings.config import SETTINGS, Algo, PPOTeacherConfig, TeacherRun
from Train_Teacher.settings.defaults import default_algo, default_run

# Flags of the settings that messages of the lower packages name.
_FLAG_NAMES = {
    **{f.name: f.name for kind in (TeacherRun, *SETTINGS.values()) for f in fields(kind)},
    "n_envs": "num_envs",
    "folder": "output",
}


def main(
    task: str | Task, arguments: list[str] | None = None, command: list[str] | None = None
) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr.

    Args:
        task: a task, or the name of one in the registry.
        command: the command as it was typed; default: that of the task's script.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    ending = exit_with_message("Continue with the same command and --resume.")
    with ending, fields_as_flags(_FLAG_NAMES):
        task = get_task(task) if isinstance(task, str) else task
        run = parse(task, arguments)
        prepare_openmp()
        # After parsing, because torch, SB3 and W&B take seconds of processor time to import.
        from Train_Teacher.train import train

        train(task, run, command or ["python", *f"Train_Teacher/{task.script}".split(), *arguments])


def main_suite(suite: Suite, arguments: Sequence[str] | None = None) -> None:
    """Run the command of a suite: `--env` chooses the task, all other flags are those of the task.

    Bad input exits with code 2 and one message on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message():
        task, rest = choose_task("Train_Teacher", suite, arguments)
    main(task.name, rest)


def parse(task: str | Task, arguments: list[str]) -> TeacherRun:
    """Return the flags, with defaults that depend on task and algorithm.

    Raises:
        UserError: the algorithm does not support the task, or values contradict each other.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    task = get_task(task) if isinstance(task, str) else task
    # Read the algorithm first, because it determines the other flags.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--algo", default=default_algo(task))
    given = first.parse_known_args(arguments)[0].algo
    algo: Algo = given if given in SETTINGS else "sac"  # tyro rejects unknown ones
    sees = "frames" if task.is_game else "the state"
    run = tyro.cli(
        TeacherRun[SETTINGS[algo]],
        args=arguments,
        prog=as_typed(f"Train_Teacher/{task.script}"),
        description=(
            f"Train a {task.name} teacher that observes {sees}. The settings below are those of "
            f"--algo {algo}; use --help with another --algo for its settings."
        ),
        default=default_run(task, algo),
        config=(tyro.conf.OmitArgPrefixes,),
        use_underscores=True,
    )
    settings = run.settings
    if isinstance(settings, PPOTeacherConfig) and settings.cnn != "impala" and not task.is_game:
        raise UserError(
            f"--cnn {settings.cnn} is for teachers that observe frames; a teacher of {task.name} "
            "observes the state and has no CNN."
        )
    return run
