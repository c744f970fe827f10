"""Default locations of the files that the toolkit ships and writes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout, or site-packages
SHIPPED = ROOT / "Results"  # teachers and students
# An installed toolkit writes to the working directory, never to site-packages.
RESULTS = SHIPPED if (ROOT / "pyproject.toml").is_file() else Path.cwd() / "Results"
