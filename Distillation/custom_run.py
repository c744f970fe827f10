"""`Distillation/Custom.py`: the flags that tell a task, then those of every task's script."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Distillation.camera_preview import write_preview
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import parse_to_look
from Distillation.flags.tokens import typed
from Distillation.run import main
from Enviroment.custom import custom_task
from Enviroment.task import Task

_DESCRIPTION = """\
Distil a teacher of your own MuJoCo environment, without editing this package. Everything else is
as in the other scripts; with --env_id, --help lists those flags as well."""

_CAMERA = """\
where pixels are seen from: the name of a body that the camera travels with, or any of distance=
x= y= z= (what it looks at, in metres) azimuth= elevation= (degrees) track=BODY, separated by
commas. What is left out is chosen so that the body fills the picture. Without --camera there are
only students of the state"""

_PROPRIO = """\
what of the state the robot's own joints tell, as ranges with the end left out: 0:17,20:22.
Without it a student of pixels sees only pixels"""


def main_custom(arguments: Sequence[str] | None = None) -> None:
    """The whole command. Bad input ends it with exit code 2 and one message on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message(), fields_as_flags(FLAG_NAMES):
        task, rest = _read_task(arguments)
        if task is None:
            return
    main(task, rest, ["python", "Distillation/Custom.py", *arguments])


def _read_task(arguments: Sequence[str]) -> tuple[Task | None, list[str]]:
    """The task and the other flags; None: `--help` or `--look` was all.

    Raises:
        UserError: there is no such environment, or a flag's text is wrong.
    """
    parser = _parser()
    try:
        own, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None
    asks_help = bool({"-h", "--help"} & set(rest))
    if asks_help:
        parser.print_help()
    if own.env_id is None:
        if asks_help:
            return None, rest
        raise UserError("Give --env_id, such as Walker2d-v5 or my_package:MyEnv-v0.")
    # A module beside the user; last, so that no file there takes another module's place.
    sys.path.append(os.getcwd())
    task = custom_task(own.env_id, own.camera, own.proprio)
    if own.look is not None and not asks_help:
        _look(task, own.look, rest)
        return None, rest
    return task, rest


def _look(task: Task, path: Path, rest: Sequence[str]) -> None:
    """Draw what a student of these flags would see.

    Raises:
        UserError: as `parse`; or the student would see nothing.
    """
    flags = parse_to_look(task, rest)
    if "mode" in typed(rest) and flags.student.mode == "State":
        raise UserError("--look shows frames, and --mode State has none: leave one of them out.")
    task = dataclasses.replace(task, frame_size=flags.frame_size)
    write_preview(task, path, blind=flags.student.blind)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="Distillation/Custom.py",
        description=_DESCRIPTION,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "--env_id", metavar="ID", help="of Gymnasium; package:Id-v0 imports package"
    )
    parser.add_argument("--camera", metavar="TEXT", help=_CAMERA)
    parser.add_argument("--proprio", metavar="RANGES", default="", help=_PROPRIO)
    parser.add_argument(
        "--look",
        metavar="PNG",
        type=Path,
        help="only draw what env.render(), camera and student show, and end",
    )
    return parser
