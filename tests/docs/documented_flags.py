"""Whether a documented command's flags exist, asked of the script itself without any work.

The script runs in this process up to where its flags are read.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import tyro
from torch.distributed.run import get_args_parser

from Common.program import COMMANDS, NAME
from Distillation import run as distillation
from Distillation.flags.resolve import Flags
from Distillation.starting import camera_preview
from Enviroment import custom
from Enviroment.tasks import get_task
from tests.docs.documented_commands import ROOT

OTHER_PROGRAMS = ("docker", "pip", "ray", "sha256sum")  # whose flags are not ours


class _Read(BaseException):
    """The flags were read."""


def complaint(words: Sequence[str]) -> str:
    """What the command's own parser says against it; nothing if it is content."""
    program, *arguments = words
    if program in OTHER_PROGRAMS:
        return ""
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        targets = [word for word in arguments if "=" not in word]
        missing = [word for word in targets if not re.search(rf"^{word}:", makefile, re.M)]
        return f"The Makefile has no {' '.join(missing)}." if missing else ""
    if program == NAME:
        return _console_complaint(arguments)
    if program == "torchrun":
        options, said = _asked(partial(get_args_parser().parse_args, arguments))
        if options is None:
            return said
        arguments = [options.training_script, *options.training_script_args]
    elif program != "python":
        return f"{program} is none of the programs whose flags can be checked here."
    return _script_complaint(arguments)


def _console_complaint(arguments: Sequence[str]) -> str:
    name, *flags = arguments
    if name in ("--help", "--version"):
        return ""
    if name not in COMMANDS:
        return f"{NAME} has no command {name}."
    command = COMMANDS[name]
    return _script_complaint(["-m", command.module, *command.arguments, *flags])


def _script_complaint(arguments: Sequence[str]) -> str:
    if arguments[0] == "-m":
        place, *flags = arguments[1:]
        folder = ROOT
        # alter_sys: its dataclasses' types are looked up in the module that is __main__.
        read = partial(runpy.run_module, place, run_name="__main__", alter_sys=True)
    else:
        place, *flags = arguments
        folder = (ROOT / place).parent
        if not (ROOT / place).is_file():
            return f"There is no {place}."
        read = partial(runpy.run_path, str(ROOT / place), run_name="__main__")
    with (
        _reads_only(),
        patch.object(sys, "argv", [place, *flags]),
        patch.object(sys, "path", [str(folder), *sys.path]),  # as python does
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy's: imported before
        return _asked(read)[1]


def _asked(read: Callable[[], Any]) -> tuple[Any, str]:
    """What it returns, and what it says against the flags."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return read(), f"It did not read its flags. {said.getvalue()}"
    except _Read:
        return None, ""
    except SystemExit as end:
        return None, said.getvalue() or f"It ended with exit code {end.code}."


@contextlib.contextmanager
def _reads_only() -> Iterator[None]:
    """The parsers read flags as always, and then end the script."""
    parse, read = argparse.ArgumentParser.parse_args, tyro.cli

    def parse_args(self: argparse.ArgumentParser, *given: Any, **more: Any) -> None:
        parse(self, *given, **more)
        raise _Read

    def cli(flags: Any, **more: Any) -> Any:
        given = read(flags, **more)
        if flags is Flags:
            return given  # they are checked further, before `Distillation.run.run`
        raise _Read

    with (
        patch.object(argparse.ArgumentParser, "parse_args", parse_args),
        patch.object(tyro, "cli", cli),
        patch.object(distillation, "run", side_effect=_Read),
        # The reader's own environment, which Distillation/Custom.py makes to read the other flags.
        patch.object(custom, "custom_task", lambda *_, **_settings: get_task("Pusher")),
        patch.object(camera_preview, "write_preview", side_effect=_Read),
    ):
        yield
