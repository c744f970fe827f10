"""What a run records of its command and settings, without what only its owner should know."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(r"api_?key|access_?key|token|secret|passw|credential", re.IGNORECASE)
_SHORTEST = 8  # characters; a shorter value would be found in ordinary words
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")  # https://user:password@host


def redact(value: Any) -> Any:
    """JSON whose texts hold no value of a secret environment variable, and no login of a URL."""
    if isinstance(value, str):
        for secret in _environment_secrets():
            value = value.replace(secret, HIDDEN)
        return _LOGIN.sub(HIDDEN + "@", value)
    if isinstance(value, dict):
        return {key: redact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value


def command_line(arguments: Sequence[str]) -> str:
    """A program and its arguments, as one would type them; `--password X` and such are hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        is_secret = flag.startswith("-") and _SECRET_NAME.search(flag) is not None
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif is_secret and equals:
            shown.append(f"{flag}={HIDDEN}")
        else:
            shown.append(redact(argument))
        hide_next = is_secret and not equals
    return shlex.join(shown)


def _environment_secrets() -> list[str]:
    return [
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST
    ]
