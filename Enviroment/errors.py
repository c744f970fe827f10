"""The exceptions that entry scripts turn into a message and exit code 2."""

from __future__ import annotations

EXIT_BAD_INPUT = 2


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
