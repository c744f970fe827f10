"""Write a teacher's bundle and its baselines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from Common.errors import UserError
from Models.bundle import bundle_folder, read_bundle, write_bundle
from Models.teacher.description import Baselines, Imitability, TeacherDescription


def save_teacher(
    folder: Path | str,
    tensors: Mapping[str, Tensor],
    description: TeacherDescription,
    notes: Mapping[str, Any],
) -> None:
    """Write a teacher's bundle.

    Args:
        notes: plain JSON for people (training settings, other metrics); no code reads it.

    Raises:
        UserError: the features extractor is a user's own class, and a bundle holds no code.
    """
    if description.features_extractor:
        raise UserError(
            f"A teacher with its own features extractor, {description.features_extractor}, "
            "cannot be saved: a bundle holds no code. Make it from its live model each time: "
            "Teacher.from_sb3(model)."
        )
    described = dataclasses.asdict(description)
    data = {**notes, **described, "summary": _summary(description.baselines)}
    write_bundle(folder, "teacher", tensors, data)


def record_baseline(
    folder: Path | str,
    policy: str,
    returns: Mapping[str, list[float]],
    successes: Mapping[str, list[float]] | None = None,
    rules: Mapping[str, Any] | None = None,
) -> None:
    """Add or replace a policy's returns in a teacher's bundle. Its weights do not change.

    Args:
        policy: for example "blind".
        returns: lists under "validation" and "evaluation", in the order of the seeds.
        successes: likewise, 1.0 for a successful episode; None if it is not reported.
        rules: of the episodes (see `TeacherDescription.rules`); None: those of the bundle.

    Raises:
        UserError: the bundle holds returns of other policies under other rules.
    """
    folder = bundle_folder(folder, "teacher")
    tensors, data = read_bundle(folder, "teacher")
    if rules is not None:
        check_rules(folder, data["baselines"], data.get("rules", {}), policy, rules)
        data["rules"] = dict(rules)
    baselines = {**data["baselines"], policy: dict(returns)}
    data = {**data, "baselines": baselines, "summary": _summary(baselines)}
    known = {p: v for p, v in data.get("successes", {}).items() if p != policy}
    data["successes"] = known | ({policy: dict(successes)} if successes else {})
    write_bundle(folder, "teacher", tensors, data)


def check_rules(
    folder: Path,
    baselines: Baselines,
    theirs: Mapping[str, Any],
    policy: str,
    rules: Mapping[str, Any],
) -> None:
    """Raise UserError if a bundle holds returns of policies other than `policy` under other rules.

    Args:
        baselines, theirs: the returns of the bundle, and their rules.
        rules: those of the returns to add (see `TeacherDescription.rules`).
    """
    if set(baselines) - {policy} and theirs != rules:
        raise UserError(
            f"{folder} holds returns in episodes with {json.dumps(dict(theirs))} (arguments, "
            "wrappers and time limit), which cannot stand beside those with "
            f"{json.dumps(dict(rules))}. Use a teacher that was trained in such episodes, or "
            "convert its agent to another folder."
        )


def record_imitability(folder: Path | str, imitability: Imitability) -> None:
    """Add or replace the imitability in a teacher's bundle. Its weights do not change."""
    folder = bundle_folder(folder, "teacher")
    tensors, data = read_bundle(folder, "teacher")
    data["imitability"] = dataclasses.asdict(imitability)
    write_bundle(folder, "teacher", tensors, data)


def _summary(baselines: Baselines) -> dict[str, dict[str, dict[str, float]]]:
    """Return mean, std and number of episodes of each policy on each set of seeds."""
    return {
        policy: {
            name: {
                "mean": round(float(np.mean(returns)), 4),
                "std": round(float(np.std(returns)), 4),
                "episodes": len(returns),
            }
            for name, returns in by_seeds.items()
        }
        for policy, by_seeds in baselines.items()
    }
