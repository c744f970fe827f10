"""`Train_Teacher/Custom.py`: flags that define a task, in addition to those of all scripts."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Enviroment.suites.own import make_own_task, own_parser, parse_own
from Enviroment.task import Task
from Train_Teacher.command import main

_DESCRIPTION = (
    "Train a teacher of your own Gymnasium environment, with SAC, TQC or PPO, without editing this "
    "package."
)

_CAMERA = """\
camera of the video at the end, as in Distillation/Custom.py. Without it, a video is recorded if the
environment is not MuJoCo's and renders pictures"""

_FLAG_NAMES = {
    name: name for name in ("env_id", "env_kwargs", "max_episode_steps", "wrapper", "camera")
}
_CONTINUOUS = ("sac", "tqc")  # algorithms that act in a Box only


def main_custom(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with exit_with_message(), fields_as_flags(_FLAG_NAMES):
        task, rest = _read_task(arguments)
        if task is None:
            return
    main(task, rest, ["python", "Train_Teacher/Custom.py", *arguments])


def _read_task(arguments: Sequence[str]) -> tuple[Task | None, list[str]]:
    """Return the task and the flags of its training; None if `--help` is complete.

    Raises:
        UserError: there is no such environment, or the algorithm does not support its actions.
    """
    own, rest = parse_own(_parser(), arguments)
    if own is None:
        return None, rest
    task = make_own_task(own)
    if not task.has_state:
        raise UserError(
            f"{task.source} observes pictures, on which this script trains no teachers. Train one "
            "with Stable-Baselines3 and convert it: python -m Models.teacher convert."
        )
    return task, [*_algo(task, own.algo), *rest]


def _algo(task: Task, given: str | None) -> list[str]:
    """Return the flag of the algorithm: as given, else PPO for actions that are not continuous.

    Raises:
        UserError: the algorithm does not support the actions.
    """
    from gymnasium import spaces

    from Enviroment.simulation.making import make_simulation

    with contextlib.closing(make_simulation(task)) as env:
        actions = env.action_space
    if isinstance(actions, spaces.Box):
        return [] if given is None else ["--algo", given]
    if given in _CONTINUOUS:
        raise UserError(
            f"--algo {given} needs continuous actions, and those of {task.env_id} are {actions}. "
            "Use --algo ppo."
        )
    return ["--algo", given or "ppo"]


def _parser() -> argparse.ArgumentParser:
    parser = own_parser("Train_Teacher/Custom.py", _DESCRIPTION, camera=_CAMERA)
    parser.add_argument(
        "--algo", metavar="ALGO", help="default: sac; ppo if the actions are not continuous"
    )
    return parser
