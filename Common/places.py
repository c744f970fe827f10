"""Default locations of the files that the toolkit ships and writes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout, or site-packages
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()
SHIPPED = ROOT / "Results"  # teachers and students
# An installed toolkit writes to the working directory, never to site-packages.
RESULTS = SHIPPED if IN_CHECKOUT else Path.cwd() / "Results"
