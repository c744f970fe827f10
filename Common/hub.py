"""Reach the Hugging Face Hub through its own library, which is optional."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from Common.commands.redaction import HIDDEN, redact
from Common.errors import UserError

INSTALL = "pip install huggingface_hub"
_LONGEST_REASON = 300  # characters


def hub_library(needed_by: str) -> Any:
    """Return the library.

    Args:
        needed_by: what needs it; the message begins with it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise UserError(f"{needed_by} needs huggingface_hub: {INSTALL}.") from None


@contextlib.contextmanager
def reaching_hub(failed: str, advice: str) -> Iterator[None]:
    """Turn every error of the library into a UserError: "<failed>: <reason>. <advice>".

    Its exceptions differ between versions. The message holds no token.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{failed}: {reason_of(error).rstrip('.')}. {advice}") from error


def reason_of(error: Exception) -> str:
    """Return the type of an error and the first paragraph of its message, without secrets."""
    # These say what failed, and their cause says why.
    is_outer = type(error).__name__ in ("RuntimeError", "LocalEntryNotFoundError")
    cause = error.__cause__ if is_outer and isinstance(error.__cause__, Exception) else error
    paragraph = str(cause).strip().partition("\n\n")
    # "404 Client Error. (Request ID: ...)", then the reason as a paragraph of its own.
    text = paragraph[2] if "Request ID" in paragraph[0] and paragraph[2] else paragraph[0]
    text = " ".join(text.split())[:_LONGEST_REASON]
    return without_token(": ".join(filter(None, [type(cause).__name__, text])))


def without_token(text: str) -> str:
    """Return a text without secrets of the environment and without the saved token."""
    with contextlib.suppress(Exception):  # a token that cannot be read is not in the text either
        token = import_module("huggingface_hub").get_token()
        text = text.replace(token, HIDDEN) if token else text
    return redact(text)
