"""Descriptions of bundles that say something else than was written, by those who know how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change_description(path: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Edits `teacher.json` or `student.json` as a forger would: without the hash of itself."""
    description = json.loads(path.read_text())
    how(description)
    description.pop("description_sha256", None)
    path.write_text(json.dumps(description))
