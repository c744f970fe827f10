"""`Distillation/Custom.py`: flags that define a task, in addition to those of all scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Distillation.command import main
from Distillation.flags.help import asks_help
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import parse_for_preview
from Distillation.flags.tokens import typed
from Enviroment.env_settings import FRAMES
from Enviroment.suites.own import make_own_task, own_parser, parse_own
from Enviroment.task import Task

_DESCRIPTION = "Distil a teacher of your own Gymnasium environment, without editing this package."

_CAMERA = """\
cameras of the frames, one or several, separated by commas: the name of a camera of the model, fixed
or on a wrist; the name of a body to follow; or, for one free camera, any of distance= x= y= z=
(look-at point, metres) azimuth= elevation= (degrees) track=BODY. Defaults are chosen so that the
body stays in the image however its joints turn. Only for MuJoCo environments"""

_FRAMES = f"""\
source of the frames: {", ".join(FRAMES)}. env: env.render(), resized; observation: the observation,
which must be a picture. Default: camera if --camera is given, else observation if it is a picture,
else env if the environment is not MuJoCo's and renders pictures, else none"""

_PROPRIO = """\
proprioception: parts of the state, as half-open ranges or as names of groups of a dictionary:
0:17,20:22 or joints,gripper. Without it, a student of frames observes only frames"""


def main_custom(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_with_message(), fields_as_flags(FLAG_NAMES):
        task, rest = read_task(arguments)
        if task is None:
            return
    main(task, rest, ["python", "Distillation/Custom.py", *arguments])


def read_task(arguments: Sequence[str]) -> tuple[Task | None, list[str]]:
    """Return the task and the remaining flags; None if `--help` or `--look` is complete.

    Raises:
        UserError: there is no such environment, or a flag has an invalid value.
    """
    wants_help = asks_help(arguments)
    own, rest = parse_own(_parser(), arguments, wants_help=wants_help)
    if own is None:
        return None, rest
    task = make_own_task(own, proprio=own.proprio, frames=own.frames)
    if own.look is not None and not wants_help:
        _look(task, own.look, rest)
        return None, rest
    return task, rest


def _look(task: Task, path: Path, rest: Sequence[str]) -> None:
    """Draw a preview of the observations of a student with these flags.

    Raises:
        UserError: see `parse`; or the student observes no frames.
    """
    flags = parse_for_preview(task, rest)
    if "mode" in typed(rest) and flags.student.mode == "State":
        raise UserError("--look shows frames, and --mode State has none: leave out one of them.")
    # After parsing, because it imports torch.
    from Distillation.flags.frames import framed
    from Distillation.starting.camera_preview import write_preview

    write_preview(framed(task, flags), path, blind=flags.student.blind)


def own_flags() -> tuple[str, ...]:
    """Return the names of the flags that define a task."""
    return tuple(a.dest for a in _parser()._actions if a.dest != "look")


def _parser() -> argparse.ArgumentParser:
    parser = own_parser("Distillation/Custom.py", _DESCRIPTION, camera=_CAMERA)
    parser.add_argument("--frames", metavar="SOURCE", help=_FRAMES)
    parser.add_argument("--proprio", metavar="PARTS", default="", help=_PROPRIO)
    parser.add_argument(
        "--look",
        metavar="PNG",
        type=Path,
        help="write a preview of env.render() and the student's frames, compare them, and exit",
    )
    return parser
