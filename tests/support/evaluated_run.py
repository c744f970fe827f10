"""A short run of a student to be measured, of a teacher beside whom it has skill."""

from __future__ import annotations

import json
from pathlib import Path

from Distillation.command import main
from Models.teacher.policy import record_baseline
from tests.support.short_run import SHORT, write_teacher


def write_rated_teacher(folder: Path) -> Path:
    """A teacher whose blind student's return is known, so that there is skill."""
    write_teacher(folder)
    returns = {"validation": [-100.0] * 100, "evaluation": [-100.0] * 100}
    record_baseline(folder, "blind", returns)
    return folder


def write_short_run(folder: Path, teacher: Path) -> Path:
    """A finished run of PPD."""
    flags = ["--PPD", "--mode", "ImpaalaSmall", "--teacher", str(teacher), *SHORT]
    main("Pusher", [*flags, "--wandb", "disabled", "--output", str(folder)])
    return folder


def written(folder: Path, name: str = "evaluation.json") -> dict:
    """What a tool left there."""
    return json.loads((folder / name).read_text())
