"""`vision-distillation COMMAND ...`: every command of the toolkit by one name."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.metadata import version

from Common.commands.exits import exit_with_message
from Common.commands.wording import aligned
from Common.errors import UserError
from Common.names import nearest
from Common.program import COMMANDS, NAME, use_console_names


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named command. An unknown one exits with code 2 and one message on stderr."""
    use_console_names()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with exit_with_message():
        if name in ("-h", "--help"):
            print(f"{NAME} COMMAND [flags]\n{NAME} --version\n\n{_listed()}\n")
            print(f"List the flags of a command: {NAME} COMMAND --help")
            return
        if name == "--version":
            print(f"{NAME} {version(NAME)}")
            return
        if name not in COMMANDS:
            raise UserError(
                f"There is no command {name!r}. Did you mean {nearest(name, COMMANDS)}?"
            )
    command = COMMANDS[name]
    # Some commands read `sys.argv`. The first word is replaced by the path of the module.
    sys.argv[1:] = [*command.arguments, *rest]
    runpy.run_module(command.module, run_name="__main__", alter_sys=True)


def _listed() -> str:
    return aligned({f"  {name}": command.summary for name, command in COMMANDS.items()})


if __name__ == "__main__":
    main()
