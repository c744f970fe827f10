"""The exceptions that entry scripts turn into a message and exit code 2.

A message names a setting as Python has it, between backticks: "`n_envs` 0 must be at least 1."
Commands say --num_envs instead, by `fields_as_flags`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

EXIT_BAD_INPUT = 2
_FIELD = re.compile(r"`([A-Za-z_][\w.]*)`")


class UserError(Exception):
    """The user asked for something that cannot be done.

    The message says what is wrong, where, and what to do about it. Entry scripts print it
    without a traceback and exit with `EXIT_BAD_INPUT`, before any work is done.
    """


class WorkerError(UserError):
    """An environment failed, died or hangs while a run was under way.

    The message names the task, the environment's index and the cause. Where Python raised, the
    exception of the environment, with its traceback, is the `__cause__`.
    """


class NoStateError(UserError):
    """These environments cannot be saved: a run on them resumes at an episode's start."""


@contextlib.contextmanager
def fields_as_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Let the errors of a block name flags of the command where they name settings.

    Args:
        flags: without dashes, by the name of the setting; where several settings share a name, by
            `Class.name`. Any other name between backticks stays as it is.
    """
    try:
        yield
    except UserError as error:
        error.args = (_FIELD.sub(lambda match: _flag(match, flags), str(error)),)
        raise


def _flag(match: re.Match[str], flags: Mapping[str, str]) -> str:
    return f"--{flags[match[1]]}" if match[1] in flags else match[0]
