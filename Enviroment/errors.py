"""The one exception that entry scripts turn into a message and exit code 2."""

from __future__ import annotations

EXIT_BAD_INPUT = 2


class UserError(Exception):
    """The user asked for something that cannot be done.

    The message says what is wrong, where, and what to do about it. Entry scripts print it
    without a traceback and exit with `EXIT_BAD_INPUT`, before any work is done.
    """
