"""Manage teacher datasets: `python -m Enviroment.dataset {info,verify,repair,export,...}`."""

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
        command.add_argument("dataset", type=Path, help="folder of the dataset")

    out = commands.add_parser("export", help="write a lossless Minari dataset")
    out.add_argument("dataset", type=Path, help="folder of the dataset")
    out.add_argument("minari_id", help="name of the new dataset, such as Pusher/teacher-v0")
    out.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    out.set_defaults(run="run_export")
    lerobot = commands.add_parser("export-lerobot", help="write a LeRobotDataset v3.0")
    lerobot.add_argument("dataset", type=Path, help="folder of the dataset")
    lerobot.add_argument("folder", type=Path, help="folder of the new dataset")
    lerobot.add_argument("--video", action="store_true", help="write videos instead of PNG; lossy")
    lerobot.add_argument("--fps", type=int, help="env steps per second; default: the task's")
    lerobot.add_argument("--instruction", help="the task in words; default: its name")
    lerobot.set_defaults(run="run_export_lerobot")
    for command in (fix, out, lerobot):
        command.add_argument(
            "--env_id", help="package:Id-v0 of the dataset's task; imports the package"
        )
        command.add_argument(
            "--wrapper", help="package:Class of its wrappers; imports the packages"
        )

    into = commands.add_parser("import", help="read a Minari dataset of `frame` and `state`")
    into.add_argument("minari_id", help="name of an installed dataset, or its folder")
    into.add_argument("--root", type=Path, help="Minari's folder; default: Minari's own")
    into.set_defaults(run="run_import")

    back = commands.add_parser("import-lerobot", help="read a LeRobotDataset v3.0")
    back.add_argument("source", type=Path, help="folder of the LeRobotDataset")
    back.add_argument("--camera", help="name of the camera, if there are several")
    back.add_argument(
        "--fps", type=int, help="its frames per second, if they differ from the task's"
    )
    back.set_defaults(run="run_import_lerobot")
    for command in (into, back):
        command.add_argument("--task", help="name, or Gymnasium id; default: that of the export")
        command.add_argument("--frame_size", help="HEIGHTxWIDTH; default: the task's")
        command.add_argument("--output", type=Path, required=True, help="folder of the new dataset")
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
        margin = asked.get("mean_margin")
        limits = float(asked["min_std"]), None if margin is None else float(margin)
        teacher = adopt(Teacher.load(folder, "cpu", *limits), task)
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
