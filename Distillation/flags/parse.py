"""The command line of every task's script: from words, and a file's, to `Flags`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import tyro

from Algorithm.method_registry import METHODS
from Common.errors import UserError, fields_as_flags
from Distillation.flags.file import read_flag_file
from Distillation.flags.groups import StudentFlags, flag_values
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.resolve import Flags, UncheckedFlags
from Distillation.flags.suite_defaults import check_task, suite_defaults
from Distillation.flags.tokens import said_in_a_line, tokens, typed
from Distillation.flags.uses import check_uses
from Distillation.starting.cloned_run import check_kept
from Enviroment.tasks import Task

_DESCRIPTIONS = {
    "gymnasium": (
        "Turn a {} teacher that sees the simulator's state into a student that sees rendered "
        "frames and its own joints."
    ),
    "envpool": "Turn a {} teacher into a student that sees the same frames.",
}


@fields_as_flags(FLAG_NAMES)
def parse(task: Task, arguments: Sequence[str]) -> Flags:
    """The flags of a command line, over those of its `--config` file, over the defaults.

    Raises:
        UserError: the file cannot be read, names flags that do not exist or gives them values
            that they do not take; values contradict each other; or flags would change nothing.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    file = _config_file(arguments)
    values = {} if file is None else read_flag_file(file, flag_values(UncheckedFlags()))
    named = typed(arguments)
    of_file = {name for name in METHODS if values.get(name) is True and f"no_{name}" not in named}
    defaults = begun = _defaults(task, of_file | named.intersection(METHODS))
    if file is not None:
        try:
            words = tokens(values, flag_values(defaults))
            begun = said_in_a_line(lambda: _read(task, words, defaults))
        except UserError as error:
            raise UserError(f"--config {file}: {error}") from error
    # What a file has switched, the command line can switch back.
    parsed = _read(task, arguments, begun, both_sides=file is not None)
    # First: a number that is not used cannot be a wrong one.
    check_uses(parsed, flag_values(defaults))
    flags = Flags(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(Flags)})
    check_task(task, flags)
    given = {name.removeprefix("no_") for name in named}
    given |= {name for name, value in values.items() if value is not None}
    check_kept(flags.cloning.folder_Dagger, task.name, flag_values(flags), given)
    return flags


def parse_to_look(task: Task, arguments: Sequence[str]) -> Flags:
    """The flags of a command line that may have no method yet, to show what its student would see.

    Raises:
        As `parse`.
    """
    if _config_file(arguments) is not None or typed(arguments).intersection(METHODS):
        return parse(task, arguments)
    return _read(task, arguments, _defaults(task, ()))


def default_values(task: Task, method: str) -> dict[str, Any]:
    """Every flag's default for a task and a method."""
    return flag_values(_defaults(task, (method,)))


def _defaults(task: Task, methods: Collection[str]) -> Flags:
    """As settings of the paper differ between methods, those of the methods asked for."""
    h, w = task.frame_size
    groups = {"student": StudentFlags(frame_size=f"{h}x{w}"), **suite_defaults(task, methods)}
    return UncheckedFlags(**groups)


def _config_file(arguments: Sequence[str]) -> Path | None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    return first.parse_known_args(arguments)[0].config


def _read(
    task: Task, arguments: Sequence[str], defaults: Flags, *, both_sides: bool = False
) -> Flags:
    """Flags as tyro reads them, unchecked as `defaults` are.

    Args:
        both_sides: of each switch there are `--video` and `--no_video`, and not only the one that
            is not its default.
    """
    switches = () if both_sides else (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(
        Flags,
        args=arguments,
        default=defaults,
        prog=f"Distillation/{task.script}",
        description=_DESCRIPTIONS[task.simulator].format(task.name),
        config=(tyro.conf.OmitArgPrefixes, *switches),
        use_underscores=True,
    )
