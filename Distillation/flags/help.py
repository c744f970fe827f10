"""The help of one method: only the flags that it uses, with their values in force."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Annotated, Any, get_type_hints

import tyro

from Distillation.flags.in_force import effective_settings
from Distillation.flags.resolve import Flags
from Distillation.flags.uses import USES

_ALL = {"--help-all", "--help_all"}
_HELP = {"-h", "--help"}


def asks_help(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for any help."""
    return bool((_ALL | _HELP) & set(arguments))


def asks_all(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for the help of all methods."""
    return bool(_ALL & set(arguments))


def without_help(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that do not ask for help."""
    return [word for word in arguments if word not in _ALL | _HELP]


def print_method_help(flags: Flags, given: Collection[str], prog: str, description: str) -> None:
    """Print the flags that the method of `flags` uses with their values, and exit.

    Args:
        given: flags that the command line or a `--config` file sets.

    Raises:
        SystemExit: 0, after the help.
    """
    method = flags.method.name
    groups: list[tuple[str, Any, Any]] = []
    for name, values in effective_settings(flags).items():
        in_force = dataclasses.replace(getattr(flags, name), **values)
        used = {f.name for f in dataclasses.fields(in_force) if method in USES[f.name]}
        if used:
            kind = _reduced(type(in_force), used, given)
            own = {f.name: getattr(in_force, f.name) for f in dataclasses.fields(in_force)}
            groups.append((name, kind, dataclasses.field(default=kind(**own))))
    tyro.cli(
        dataclasses.make_dataclass("Flags", groups, frozen=True),
        args=["--help"],
        prog=f"{prog} --{method}",
        description=f"{description}\n\nThese are the flags of --{method}; --help-all lists all.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        use_underscores=True,
    )


def _reduced(group: type[Any], used: Collection[str], given: Collection[str]) -> type[Any]:
    """Return a group of flags whose help lists the used flags only."""
    hints = get_type_hints(group, include_extras=True)
    fields = []
    for flag in dataclasses.fields(group):
        word = "given" if flag.name in given else "default"
        hint = tyro.conf.arg(help_behavior_hint=lambda value, word=word: f"({word}: {value})")
        kind = Annotated[hints[flag.name], hint]
        fields.append((flag.name, kind if flag.name in used else tyro.conf.Suppress[kind]))
    reduced = dataclasses.make_dataclass(group.__name__, fields, bases=(group,), frozen=True)
    # The parser reads the help texts, which are comments, where the group is declared.
    reduced.__module__, reduced.__doc__ = group.__module__, group.__doc__
    return reduced
