"""Which files may be unpickled: those whose SHA-256 the user gave, and no others.

A pickle can run any code. So nothing is unpickled unless its very bytes were named beforehand.
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
    """A file that only unpickling could read, which is refused."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(
            f"{path} is refused: {why}. If you trust who made the file, give its SHA-256 "
            f"(`sha256sum {path}`, compared with theirs): `trust` SHA256."
        )


class Trust:
    """The SHA-256 hashes, in hexadecimal, of the files that may be unpickled.

    Raises:
        UserError: one of them is no such hash.
    """

    def __init__(self, hashes: Iterable[str] = ()) -> None:
        self._hashes = frozenset(text.lower() for text in hashes)
        for text in self._hashes:
            if not re.fullmatch(r"[0-9a-f]{64}", text):
                raise UserError(f"`trust` {text!r} is no SHA-256: 64 hexadecimal digits.")

    def covers(self, content: bytes) -> bool:
        """Whether these bytes are one of the files."""
        return hashlib.sha256(content).hexdigest() in self._hashes

    def unpickle(self, path: Path, content: bytes) -> Any:
        """Unpickles bytes that are covered, and so runs whatever is in them.

        Raises:
            UserError: they cannot be unpickled here.
        """
        assert self.covers(content)
        try:
            return pickle.loads(content)
        except Exception as error:  # it is the file's own code that runs: it may raise anything
            raise UserError(f"{path} is trusted, but cannot be unpickled: {error!r}.") from error


NO_TRUST = Trust()
