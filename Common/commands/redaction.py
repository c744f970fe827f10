"""Remove secrets from the command and settings that a run records."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

HIDDEN = "***"
# Finds the words of a name such as GITHUB_PAT, --db-pwd, secretKey.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# People choose passwords: they may be ordinary words.
_PASSWORDS = ("password", "passwd", "passphrase", "pass", "pwd", "pw")
_SECRETS = ("token", "secret", "pat", "apikey", "credential", "credentials", "auth", "sas", "dsn")
_LONG = tuple(word for word in (*_PASSWORDS, *_SECRETS) if len(word) > 4)  # in HFTOKEN, too
_OPEN_KEYS = frozenset({"public", "primary", "foreign", "sort"})
# A name with one of these words describes a secret, such as PASSWORD_FILE, but holds none.
_ABOUT = frozenset(
    {"count", "dir", "enabled", "file", "length", "limit", "max", "method", "min", "mode", "path"}
    | {"schedule", "sock", "timeout", "type"}
)
_SHORTEST = 8  # characters; a shorter value would match inside ordinary words
_ORDINARY = re.compile(r"[A-Z]?[a-z]{,15}|[A-Z]{,15}")  # not a generated token
# user@ or user:password@ after a scheme. A password may hold anything but a space, so it ends at
# the last @. A number and a slash are a port and a path.
_LOGIN = re.compile(r"(?<=://)(?:[^\s/@:]*:(?!\d{1,5}/)\S*|[^\s/@]+)@")
_QUERY = re.compile(r"(?<=[?&;#])([\w.%-]{1,80})=([^&;#\s]+)")  # of a URL
_SIGNATURES = frozenset({"signature", "sig", "credential", "key", "code", "hmac", "jwt"})


def redact(value: Any) -> Any:
    """Return JSON without secrets in its strings.

    Hide the values of environment variables with the name of a secret, logins in URLs, and
    signatures of URLs.
    """
    return _redacted(value, _environment_secrets())


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as typed in a shell, with secrets such as `--password X` hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_secret = _kind(name) is not None and re.fullmatch(r"-*[\w-]+", name) is not None
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif is_secret and equals:
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(redact(argument))
        hide_next = is_secret and not equals and argument.startswith("-")
    return shlex.join(shown)


def _redacted(value: Any, secrets: Sequence[re.Pattern[str]]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = secret.sub(HIDDEN, value)
        value = _LOGIN.sub(HIDDEN + "@", value)
        return _QUERY.sub(_without_signature, value) if "://" in value else value
    if isinstance(value, dict):
        return {key: _redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, secrets) for item in value]
    return value


def _without_signature(part: re.Match[str]) -> str:
    name = part[1]
    signs = _kind(name) is not None or not _SIGNATURES.isdisjoint(_words(name))
    return f"{name}={HIDDEN}" if signs else part[0]


def _environment_secrets() -> list[re.Pattern[str]]:
    """Return patterns of the secret values in the environment, longest first."""
    found: dict[str, re.Pattern[str]] = {}
    for name, value in os.environ.items():
        kind = _kind(name)
        is_ordinary = _ORDINARY.fullmatch(value) is not None
        is_path = value.startswith("/") and os.path.lexists(value)
        if kind is None or len(value) < _SHORTEST or is_path:
            continue
        if is_ordinary and kind == "password":
            found[value] = re.compile(rf"(?<![A-Za-z]){value}(?![A-Za-z])")
        elif not is_ordinary:
            found[value] = re.compile(re.escape(value))
    return [found[value] for value in sorted(found, key=len, reverse=True)]


def _kind(name: str) -> str | None:
    """Return the kind of secret that a variable or flag of this name holds, or None."""
    words = _words(name)
    if not _ABOUT.isdisjoint(words):
        return None
    if any(word in _PASSWORDS or word.endswith("password") for word in words):
        return "password"
    if any(word in _SECRETS or word.endswith(_LONG) for word in words):
        return "secret"
    # API_KEY, ACCESS_KEY_ID, PRIVATE_KEY; no PUBLIC_KEY.
    before = [words[i - 1] if i else "" for i, word in enumerate(words) if word in ("key", "keys")]
    return "secret" if any(word not in _OPEN_KEYS for word in before) else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
