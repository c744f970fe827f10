"""`python Distillation/sweep.py GRID.yaml`: run all unfinished runs of a grid."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from Common.commands.exits import exit_with_message
from Common.errors import fields_as_flags
from Common.program import as_typed
from Distillation.sweeps.flags import SweepFlags


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and all errors on stderr."""
    ending = exit_with_message("Continue with the same command.")
    with ending, fields_as_flags({"folder": "output", "ray_address": "ray_address"}):
        flags = tyro.cli(
            SweepFlags, args=arguments, prog=as_typed("Distillation/sweep.py"),
            use_underscores=True, config=(tyro.conf.FlagCreatePairsOff,),
        )  # fmt: skip
        # After parsing, because the checks of the grid read teachers with torch.
        from Distillation.sweeps.tool import sweep

        sys.exit(sweep(flags))
