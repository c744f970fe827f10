"""Flags that select a student, its episodes and its teacher, shared by several tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from Common.errors import UserError
from Evaluation.evaluate.seed_range import parse_seeds


@dataclass(frozen=True)
class SubjectFlags:
    """Select a student and the episodes."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder, or a student's bundle
    episodes: int | None = None  # number of episodes; default: 100, or all of FIRST:STOP
    seeds: str = "evaluation"  # evaluation, validation, or FIRST:STOP
    allow_training_seeds: bool = False  # allow FIRST:STOP to hold training seeds
    output: Path | None = None  # path of the result
    # threads of torch, which affect the last digits; default: as in training
    threads: int | None = None
    env_id: str | None = None  # package:Id-v0 of the student's task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    encoder: str | None = None  # package:Class of the student's own encoder; imports the package

    def seed_range(self, default: int = 100) -> range:
        """Return the seeds of the episodes. Raises UserError as `parse_seeds` does."""
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads {self.threads} must be at least 1.")
        allow = self.allow_training_seeds
        return parse_seeds(self.seeds, self.episodes, default, allow_training=allow)


@dataclass(frozen=True)
class TeacherFlags(SubjectFlags):
    """Select a student, the episodes, and the teacher to compare with."""

    teacher: Path | None = None  # bundle, or run with one; default: its own teacher, or the task's
