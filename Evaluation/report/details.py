"""Describe the runs of a report: command, hashes, configuration, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Evaluation.report.entries import Entry
from Evaluation.report.rows import MEASURES

_BULKY = ("config", "command", "versions", "teacher_sha256", "git_sha", "sha256", "actions")


@dataclass(frozen=True)
class Details:
    """The description of a run on the page."""

    name: str
    score: str
    is_cut: bool
    command: str
    origin: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]  # settings and versions


def run_details(entry: Entry) -> Details:
    """Return the description of a run."""
    run, described = entry.run, entry.described
    scores = ((metric, metric.of(run)) for metric in MEASURES)
    settings = described.get("config", {}) if entry.shipped else run.config
    groups = {"student": settings} if entry.shipped else settings
    groups = {name: group for name, group in groups.items() if isinstance(group, dict)}
    groups |= {k: v for k, v in described.items() if isinstance(v, dict) and k not in _BULKY}
    if isinstance(described.get("versions"), dict):
        groups["versions"] = described["versions"]
    return Details(
        name=run_name(entry),
        score=next((f"{m.title} {value:.3g}" for m, value in scores if value is not None), ""),
        is_cut=run.figures is None,
        command=run.command,
        origin={
            "folder": str(run.folder),
            "student SHA-256": entry.student_sha256,
            "teacher SHA-256": run.teacher_sha256,
            "git": described.get("git_sha"),
        },
        groups=groups,
    )


def run_name(entry: Entry) -> str:
    """Return a name that distinguishes a run from the others of its row."""
    return "shipped student" if entry.shipped else f"run_index {entry.run.run_index}"


def words(name: str) -> str:
    """Return a key with spaces instead of underscores."""
    return name.replace("_", " ")


def text_of(value: Any) -> str:
    """Return a JSON value as short text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)
