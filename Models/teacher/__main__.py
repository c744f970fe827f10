"""Convert SB3 files to teachers and inspect bundles: `python -m Models.teacher convert|inspect`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from Common.commands.exits import exit_with_message
from Common.commands.redaction import command_line
from Common.errors import fields_as_flags
from Common.program import as_typed
from Models.teacher.flags import Convert


@dataclass(frozen=True)
class Inspect:
    """Print the contents of a bundle, after checking its hash."""

    bundle: tyro.conf.Positional[Path]


Command = (
    Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    names = {f.name: f.name for f in fields(Convert)}
    with exit_with_message(), fields_as_flags(names):
        command = tyro.cli(
            Command,  # pyright: ignore[reportArgumentType]
            prog=as_typed("python -m Models.teacher"),
            description="Convert an SB3 agent to a teacher's bundle, or inspect a bundle.",
            args=arguments,
            use_underscores=True,
        )
        # After parsing, because they import torch and SB3.
        from Models.teacher.conversion import convert, describe
        from Models.teacher.policy import Teacher

        if isinstance(command, Convert):
            convert(command, command_line(["python", "-m", "Models.teacher", *arguments]))
            command = Inspect(command.output)
        print(describe(Teacher.load(command.bundle)))


if __name__ == "__main__":
    main()
