"""`Train_Teacher/Hopper.py`: train one teacher of the domain study, or run the whole study.

`--algo ppo --domain source --udr` trains one teacher; `--study` runs `Train_Teacher.study.study`,
`--students` runs `Train_Teacher.study.students`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

from Common.commands.exits import exit_with_message
from Common.errors import UserError
from Common.lazy import import_name
from Common.program import as_typed
from Train_Teacher import command as teacher
from Train_Teacher.command import main_suite
from Train_Teacher.study.config import StudentsFlags, StudyFlags

_SCRIPT = "Train_Teacher/Hopper.py"
FlagsT = TypeVar("FlagsT")

_HELP = f"""python {_SCRIPT} --algo ALGO --domain source|target [--udr]
    train one policy by ppo, sac, tqc, reinforce or actor_critic; add --help for its flags
python {_SCRIPT} --study --help
    train and test all policies of the domain study, and draw figures 1 to 3
python {_SCRIPT} --students --help
    draw figures 4 to 6 and write table 3, from finished runs of Distillation/Hopper.py"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with exit_with_message("Continue with the same command."):
        if "--study" in arguments:
            study = _flags(StudyFlags, arguments, "--study")
            sys.exit(import_name("Train_Teacher.study.study:run_study")(study))
        if "--students" in arguments:
            students = _flags(StudentsFlags, arguments, "--students")
            import_name("Train_Teacher.study.students:show_students")(students)
            return
        name, rest = choose_domain(arguments)
    if name is None:
        main_suite("hopper", rest)
    else:
        teacher.main(name, rest)


def choose_domain(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the task of `--domain` and `--udr`, and the remaining arguments.

    Returns: None and all arguments if `--env` names the task.

    Raises:
        UserError: the domain is missing or unknown, or `--udr` has no meaning.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--domain")
    first.add_argument("--udr", action="store_true")
    first.add_argument("--env")
    try:
        known, rest = first.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"{_SCRIPT}: {error}.") from None
    if known.env is not None:
        if known.domain is not None or known.udr:
            raise UserError("--env names the task itself: leave out --domain and --udr, or --env.")
        return None, list(arguments)
    if known.domain is None:
        if {"-h", "--help"} & set(rest):
            print(as_typed(_HELP))
            sys.exit(0)
        raise UserError(f"{_SCRIPT} needs --domain source, --domain target or --study.")
    if known.domain not in ("source", "target"):
        raise UserError(f"--domain {known.domain} is unknown: give source or target.")
    if known.udr and known.domain == "target":
        raise UserError("--udr randomises the source domain: give --domain source --udr.")
    return f"CustomHopper-{known.domain}" + ("-udr" if known.udr else ""), rest


def _flags(flags_type: type[FlagsT], arguments: list[str], word: str) -> FlagsT:
    rest = [argument for argument in arguments if argument != word]
    return tyro.cli(flags_type, args=rest, prog=as_typed(f"{_SCRIPT} {word}"), use_underscores=True)
