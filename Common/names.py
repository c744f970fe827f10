"""Names in messages: suggestions for unknown ones, checks of unusable ones, and plurals."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from Common.errors import UserError


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the most similar names as text, "A or B"; all names if nothing is similar."""
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.3) or sorted(lower)
    return " or ".join(lower[found] for found in near)


def counted(n: float, noun: str) -> str:
    """Return a number with its noun: "1 run", "1,200 runs"."""
    return f"{n:,.0f} {noun}{'' if n == 1 else 's'}"


def check_utf8(text: str, what: str) -> None:
    """Raise UserError for bytes that are not UTF-8, which Linux allows in names and arguments.

    Args:
        what: what the name is of; the message begins with it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text.encode(errors="backslashreplace").decode()
        raise UserError(
            f"{what} {shown!r:.200} holds bytes that are not UTF-8. Use a name without them."
        ) from error
