"""Names: what one that is not known might have meant, and which cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from Common.errors import UserError


def nearest(name: str, names: Iterable[str]) -> str:
    """The names most like this one, for people: "A or B"; all of them, where none is like it."""
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.3) or sorted(lower)
    return " or ".join(lower[found] for found in near)


def check_utf8(text: str, what: str) -> None:
    """Refuse a name that cannot be written into a file, drawn or sent.

    Args:
        what: what it is, to begin the message with.

    Raises:
        UserError: it holds bytes that are not UTF-8, which Linux allows in names and arguments.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text.encode(errors="backslashreplace").decode()
        raise UserError(
            f"{what} {shown!r:.200} holds bytes that are not UTF-8. Use a name without them."
        ) from error
