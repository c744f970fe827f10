"""Default locations of the files that the toolkit ships and writes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout, or site-packages
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()
SHIPPED = ROOT / "Results"  # teachers and students
# An installed toolkit writes to the working directory, never to site-packages.
RESULTS = SHIPPED if IN_CHECKOUT else Path.cwd() / "Results"


def shipped(path: Path | str) -> Path:
    """Return the path; or what the toolkit ships by that name, if nothing is there.

    Names begin with `Results`: `Results/Pusher/teachers/ppo` is found from any folder.
    """
    path = Path(path)
    if path.parts[:1] == (SHIPPED.name,) and not path.exists() and (ROOT / path).exists():
        return ROOT / path
    return path
