"""Manage teacher datasets: `python -m Enviroment.dataset {info,verify,repair,export,import}`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from Common.commands.exits import exit_with_message
from Common.errors import UserError, fields_as_flags
from Common.program import as_typed

if TYPE_CHECKING:
    from Enviroment.dataset.format import Manifest
    from Enviroment.dataset.recording import Labeller
    from Enviroment.task import Task


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Bad input, such as a damaged dataset, exits with code 2."""
    with exit_with_message():
        options = _parser().parse_args(arguments)
        # After parsing, because it imports what reads, draws and collects datasets.
        from Enviroment.dataset import commands

        flags = {**{name: name for name in vars(options)}, "folder": "output"}
        with fields_as_flags(flags):
            getattr(commands, options.run)(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_typed("python -m Enviroment.dataset"), description="Manage teacher datasets."
    )
    commands = parser.add_subparsers(required=True)

    info = commands.add_parser("info", help="print statistics and draw a contact sheet")
    info.add_argument(
        "--output", type=Path, help="file of the sheet; default: in the dataset's folder"
    )
    info.set_defaults(run="run_info")

    check = commands.add_parser("verify", help="read every byte, and list damaged shards")
    check.set_defaults(run="run_verify")

    fix = commands.add_parser("repair", help="collect damaged or lost shards again")
    fix.add_argument("--teacher", type=Path, required=True, help="bundle of the same teacher")
    fix.set_defaults(run="run_repair", load_labeller=_load_labeller)

    for command in (info, check, fix):
        command.add_argument("dataset", type=Path, help="its folder")

    out = commands.add_parser("export", help="write a lossless Minari dataset")
    out.add_argument("dataset", type=Path, help="its folder")
    out.add_argument("minari_id", help="name of the new dataset, such as Pusher/teacher-v0")
    out.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    out.set_defaults(run="run_export")
    for command in (fix, out):
        command.add_argument(
            "--env_id", help="package:Id-v0 of the dataset's task; imports the package"
        )
        command.add_argument(
            "--wrapper", help="package:Class of its wrappers; imports the packages"
        )

    into = commands.add_parser("import", help="read a Minari dataset of `frame` and `state`")
    into.add_argument("minari_id", help="name of an installed dataset, or its folder")
    into.add_argument("--task", help="name, or Gymnasium id; default: that of the export")
    into.add_argument("--frame_size", help="HEIGHTxWIDTH; default: the task's")
    into.add_argument("--output", type=Path, required=True, help="folder of the new dataset")
    into.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    into.set_defaults(run="run_import")
    return parser


def _load_labeller(folder: Path, manifest: Manifest, task: Task) -> Labeller:
    """Return the teacher of a bundle with the labelling settings of the manifest."""
    # The only import of Models in this package: to collect a shard again takes a teacher, but to
    # read datasets does not.
    from Models.teacher.adoption import adopt
    from Models.teacher.corruption import corrupt
    from Models.teacher.labels import TeacherLabeller
    from Models.teacher.policy import Teacher

    asked = manifest.recipe.teacher
    try:
        teacher = adopt(Teacher.load(folder, min_std=float(asked["min_std"])), task)
        sigma = float(asked.get("corruption_sigma", 0.0))
        # A bundle of the corrupted teacher itself needs no more noise.
        if sigma and not teacher.description.corruption_sigma:
            teacher = corrupt(teacher, sigma, int(asked["corruption_seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"The manifest lacks the settings of its teacher ({error!r}), so no shard can be "
            "collected again. Restore it from a copy, or collect the dataset again."
        ) from error
    return TeacherLabeller(teacher)


if __name__ == "__main__":
    main()
