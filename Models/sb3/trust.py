"""Allow unpickling only for files whose SHA-256 the user has given.

A pickle can run any code, so no other file is ever unpickled.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from Common.errors import UserError


class NeedsTrustError(UserError):
    """A file is refused, because only unpickling could read it."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(
            f"{path} is refused: {why}. If you trust the author of the file, give its SHA-256 "
            f"(`sha256sum {path}`, compared with the author's): `trust` SHA256."
        )


class Trust:
    """The SHA-256 hashes, in hexadecimal, of the files that may be unpickled.

    Raises:
        UserError: a text is not such a hash.
    """

    def __init__(self, hashes: Iterable[str] = ()) -> None:
        self._hashes = frozenset(text.lower() for text in hashes)
        for text in self._hashes:
            if not re.fullmatch(r"[0-9a-f]{64}", text):
                raise UserError(f"`trust` {text!r} is not a SHA-256 of 64 hexadecimal digits.")

    def covers(self, content: bytes) -> bool:
        """Return whether these bytes are one of the trusted files."""
        return hashlib.sha256(content).hexdigest() in self._hashes

    def unpickle(self, path: Path, content: bytes) -> Any:
        """Unpickle trusted bytes, which runs the code in them.

        Raises:
            UserError: the bytes cannot be unpickled.
        """
        assert self.covers(content)
        try:
            return pickle.loads(content)
        except Exception as error:  # the file's own code may raise anything
            raise UserError(f"{path} is trusted, but cannot be unpickled: {error!r}.") from error


NO_TRUST = Trust()
