"""Read the flags of the scripts `Custom.py` that define a task of a user's own environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from Common.errors import UserError
from Common.program import as_typed
from Enviroment.env_settings import add_env_arguments, parse_env_kwargs, parse_wrappers
from Enviroment.task import Task

_HELP = {"-h", "--help"}


def own_parser(prog: str, description: str, *, camera: str) -> argparse.ArgumentParser:
    """Return a parser of the flags that both scripts have. Each adds its own.

    Args:
        prog: the script.
        camera: help text of `--camera`.
    """
    parser = argparse.ArgumentParser(
        prog=as_typed(prog),
        description=as_typed(
            f"{description} All flags of the other scripts work as well; --help lists them if "
            "--env_id is given."
        ),
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "--env_id", metavar="ID", help="Gymnasium id; package:Id-v0 imports package first"
    )
    add_env_arguments(parser)
    parser.add_argument("--camera", metavar="TEXT", help=camera)
    return parser


def parse_own(
    parser: argparse.ArgumentParser, arguments: Sequence[str], *, wants_help: bool | None = None
) -> tuple[argparse.Namespace | None, list[str]]:
    """Return the flags of `parser`, and the remaining arguments.

    Print the help of `parser` first if it is requested. Without `--env_id` there is no more help,
    and None is returned instead of the flags.

    Args:
        wants_help: whether help is requested; default: whether `-h` or `--help` is given.

    Raises:
        UserError: a flag has no value, or `--env_id` is missing.
    """
    try:
        own, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None
    if wants_help is None:
        wants_help = not _HELP.isdisjoint(rest)
    if wants_help:
        parser.print_help()
    if own.env_id is not None:
        return own, rest
    if wants_help:
        return None, rest
    raise UserError("Give `env_id`, such as Walker2d-v5 or my_package:MyEnv-v0.")


def make_own_task(own: argparse.Namespace, *, proprio: str = "", frames: str | None = None) -> Task:
    """Return the task of the flags of `own_parser`; modules are found in the working directory.

    Args:
        proprio, frames: see `Enviroment.custom.custom_task`.

    Raises:
        UserError: there is no such environment, or a flag has an invalid value.
    """
    # Last, so that modules of the folder do not shadow others.
    sys.path.append(os.getcwd())
    # After parsing, because it imports Gymnasium.
    from Enviroment.custom import custom_task

    return custom_task(
        *(own.env_id, own.camera, proprio),
        frames=frames,
        env_kwargs=parse_env_kwargs(own.env_kwargs),
        max_episode_steps=own.max_episode_steps,
        wrappers=parse_wrappers(own.wrapper),
    )
