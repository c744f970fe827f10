"""What a name that is not known might have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """The names most like this one, for people: "A or B"; all of them, where none is like it."""
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.3) or sorted(lower)
    return " or ".join(lower[found] for found in near)
