"""Describe the runs of a report: command, hashes, configuration, versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from Evaluation.report.entries import Entry
from Evaluation.report.rows import MEASURES

_BULKY = ("config", "command", "teacher_sha256", "git_sha", "sha256", "actions")


@dataclass(frozen=True)
class Details:
    """The description of a run on the page."""

    name: str
    score: str
    is_cut: bool
    command: str
    settings: str


def run_details(entry: Entry) -> Details:
    """Return the description of a run."""
    run, described = entry.run, entry.described
    scores = ((metric, metric.of(run)) for metric in MEASURES)
    origin = {
        "folder": str(run.folder),
        "student SHA-256": entry.student_sha256,
        "teacher SHA-256": run.teacher_sha256,
        "git": described.get("git_sha"),
    }
    settings = {"student": described.get("config")} if entry.shipped else dict(run.config)
    others = {k: v for k, v in described.items() if isinstance(v, dict) and k not in _BULKY}
    return Details(
        name=run_name(entry),
        score=next((f"{m.title} {value:.3g}" for m, value in scores if value is not None), ""),
        is_cut=run.figures is None,
        command=run.command,
        settings=text_of(origin | settings | others),
    )


def run_name(entry: Entry) -> str:
    """Return a name that distinguishes a run from the others of its row."""
    return "shipped student" if entry.shipped else f"run_index {entry.run.run_index}"


def words(name: str) -> str:
    """Return a key with spaces instead of underscores."""
    return name.replace("_", " ")


def text_of(value: Any) -> str:
    """Return a JSON value as YAML, which is shorter to read; values that are null are omitted."""
    known = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
    return yaml.safe_dump(known, sort_keys=False, allow_unicode=True) if known else ""
