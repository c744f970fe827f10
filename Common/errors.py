"""Exceptions that entry scripts turn into a message and exit code 2.

A message names a setting by its Python name between backticks: "`n_envs` 0 must be at least 1."
Commands replace it by the flag, such as --num_envs, with `fields_as_flags`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

from Common.program import as_typed

EXIT_BAD_INPUT = 2
_FIELD = re.compile(r"`([A-Za-z_][\w.]*)`")


class UserError(Exception):
    """The user asked for something that cannot be done.

    The message states what is wrong, where, and how to fix it. Entry scripts print it without a
    traceback and exit with `EXIT_BAD_INPUT` before any work is done. A message names commands as
    in a checkout; it reads as this installation types them (see `Common.program`).
    """

    def __str__(self) -> str:
        return as_typed(super().__str__())


class WorkerError(UserError):
    """An environment failed, died or hung during a run.

    The message names the task, the environment's index and the cause. If the environment raised a
    Python exception, it is the `__cause__`, with its traceback.
    """


class NoStateError(UserError):
    """These environments cannot be saved. A run on them resumes at the start of an episode."""


@contextlib.contextmanager
def fields_as_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Replace settings by flags of the command in the messages of errors raised in the block.

    Args:
        flags: flags without dashes, by the name of the setting, or by `Class.name` if several
            settings share a name. Other names between backticks are kept.
    """
    try:
        yield
    except UserError as error:
        error.args = (_FIELD.sub(lambda match: _flag(match, flags), str(error)),)
        raise


def _flag(match: re.Match[str], flags: Mapping[str, str]) -> str:
    return f"--{flags[match[1]]}" if match[1] in flags else match[0]
