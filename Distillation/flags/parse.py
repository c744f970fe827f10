"""Parse the command line of the task scripts and the `--config` file into `Flags`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from Algorithm.method_registry import METHODS
from Common.errors import UserError, fields_as_flags
from Common.program import as_typed
from Distillation.flags.file import read_flag_file
from Distillation.flags.groups import StudentFlags, flag_values
from Distillation.flags.help import asks_all, asks_help, print_method_help, without_help
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.resolve import Flags, UncheckedFlags
from Distillation.flags.suite_defaults import check_task, suite_defaults
from Distillation.flags.tokens import parser_error_as_user_error, tokens, typed
from Distillation.flags.uses import check_uses
from Distillation.starting.cloned_run import check_inherited_flags
from Enviroment.tasks import Task

_DESCRIPTIONS = {
    "gymnasium": (
        "Distil a {} teacher that observes the simulator's state into a student that observes "
        "rendered frames and proprioception."
    ),
    "envpool": "Distil a {} teacher into a student that observes the same frames.",
}
_HINT = "Add --help to a method, such as --PPD --help, for its flags and their values only."


@fields_as_flags(FLAG_NAMES)
def parse(task: Task, arguments: Sequence[str]) -> Flags:
    """Return the flags of a command line.

    The command line takes precedence over the `--config` file, and the file over the defaults.

    Raises:
        UserError: the file cannot be read, or contains unknown flags or invalid values; values
            contradict each other; or flags would have no effect.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    if asks_help(arguments):
        _print_help(task, arguments)
    return _parsed(task, arguments)[0]


def _parsed(task: Task, arguments: Sequence[str]) -> tuple[Flags, set[str]]:
    """Return the flags, and the names of those that command line or file give; see `parse`."""
    file = _config_file(arguments)
    values = {} if file is None else read_flag_file(file, flag_values(UncheckedFlags()))
    named = typed(arguments)
    of_file = {name for name in METHODS if values.get(name) is True and f"no_{name}" not in named}
    methods = of_file | named.intersection(METHODS)
    defaults = base = _defaults(task, methods, _mode(arguments, values))
    if file is not None:
        try:
            words = tokens(values, flag_values(defaults))
            base = parser_error_as_user_error(lambda: _read(task, words, defaults))
        except UserError as error:
            raise UserError(f"--config {file}: {error}") from error
    # The command line can reverse switches of the file.
    parsed = _read(task, arguments, base, both_sides=file is not None)
    # Check this first, so that unused flags are reported as unused, not as invalid.
    check_uses(parsed, flag_values(defaults))
    given = {name.removeprefix("no_") for name in named}
    given |= {name for name, value in values.items() if value is not None}
    groups = {f.name: getattr(parsed, f.name) for f in dataclasses.fields(Flags)}
    student = parsed.student.with_encoder(mode_given="mode" in given)
    flags = Flags(**{**groups, "student": student})
    check_task(task, flags)
    given = {"mode" if name == "encoder" else name for name in given}
    check_inherited_flags(flags.cloning.folder_Dagger, task.name, flag_values(flags), given)
    return flags, given


def _print_help(task: Task, arguments: Sequence[str]) -> None:
    """Print the help of the chosen method, or that of all methods, and exit.

    Raises:
        UserError: the other flags are invalid, so that they have no values to show.
        SystemExit: 0, after the help; 2, for unknown flags or values.
    """
    others = without_help(arguments)
    methods = typed(others).intersection(METHODS)
    if asks_all(arguments) or (not methods and _config_file(others) is None):
        _read(task, ["--help"], _defaults(task, methods))
    flags, given = _parsed(task, others)
    print_method_help(flags, given, as_typed(f"Distillation/{task.script}"), _description(task))


def _description(task: Task) -> str:
    return _DESCRIPTIONS[task.simulator].format(task.name)


def parse_for_preview(task: Task, arguments: Sequence[str]) -> Flags:
    """Return the flags of a command line that may lack a method, for a preview of frames.

    Raises:
        UserError, SystemExit: see `parse`.
    """
    if _config_file(arguments) is not None or typed(arguments).intersection(METHODS):
        return parse(task, arguments)
    return _read(task, arguments, _defaults(task, ()))


def default_values(task: Task, methods: Collection[str], mode: str | None = None) -> dict[str, Any]:
    """Return the defaults of all flags for a task and a method, or the phases of a run.

    Args:
        mode: the mode of the student, if it was given.
    """
    return flag_values(_defaults(task, methods, mode))


def _defaults(task: Task, methods: Collection[str], mode: str | None = None) -> Flags:
    """Return the defaults for the given methods (the paper's settings depend on the method)."""
    h, w = task.frame_size
    default = StudentFlags.mode if task.has_state else "ImpaalaSmall"
    student = StudentFlags(mode=default, frame_size=f"{h}x{w}")
    groups = {"student": student, **suite_defaults(task, methods, mode)}
    return UncheckedFlags(**groups)


def _mode(arguments: Sequence[str], values: Mapping[str, Any]) -> str | None:
    """Return the mode or the encoder of the command line, or else of the file, unchecked."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("encoder", "mode"):
        first.add_argument(f"--{name}", nargs="?")  # tyro reports a missing value
    given = {n: v for n, v in vars(first.parse_known_args(arguments)[0]).items() if v is not None}
    for source in (given, values):
        for name in ("encoder", "mode"):
            if source.get(name) is not None:
                return str(source[name])
    return None


def _config_file(arguments: Sequence[str]) -> Path | None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    return first.parse_known_args(arguments)[0].config


def _read(
    task: Task, arguments: Sequence[str], defaults: Flags, *, both_sides: bool = False
) -> Flags:
    """Return the flags parsed by tyro, without further checks.

    Args:
        both_sides: accept both `--video` and `--no_video`, not only the side that differs from
            the default.
    """
    switches = () if both_sides else (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(
        Flags,
        args=arguments,
        default=defaults,
        prog=as_typed(f"Distillation/{task.script}"),
        description=f"{_description(task)}\n\n{_HINT}",
        config=(tyro.conf.OmitArgPrefixes, *switches),
        use_underscores=True,
    )
