"""Hand-made folders of finished runs, as `Distillation.run` leaves them behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Common.runs.files import CONFIG_FILE, METRICS_FILE
from Common.runs.run_folder import FIGURES_FILE


def write_run(
    folder: Path,
    figures: Mapping[str, float] | None,
    *,
    task: str = "Hopper",
    method: Any = "PPD",
    size: str | None = "larger",
    mode: str = "State",
    run_index: int = 0,
    teacher: str | None = "a",
    blind: bool = False,
    corrupt: float = 0.0,
    training: Mapping[str, Any] | None = None,
    env_steps: int = 1000,
) -> Path:
    """A run folder; without figures one that was cut short."""
    folder.mkdir(parents=True)
    student = {"mode": mode, "blind": blind} | ({} if size is None else {"size": size})
    config = {
        "task": task,
        "method": method,
        "student": student,
        "training": {"run_index": run_index, **(training or {})},
        "teaching": {"corrupt_teacher": corrupt},
    }
    if corrupt:
        config["corruption"] = {"sigma": corrupt, "seed": run_index, "uncorrupted_sha256": teacher}
        teacher = f"{teacher}{run_index}"
    (folder / CONFIG_FILE).write_text(json.dumps({"config": config, "teacher_sha256": teacher}))
    (folder / METRICS_FILE).write_text(json.dumps({"step": 1, "time/env_steps": env_steps}) + "\n")
    if figures is not None:
        (folder / FIGURES_FILE).write_text(json.dumps(figures))
    return folder
