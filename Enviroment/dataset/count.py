"""Sizes of datasets as text, parsed without the reader's libraries."""

from __future__ import annotations

import re


def parse_count(text: str) -> int | None:
    """Parse `5k` or `5000` as 5000; return None for any other text."""
    match = re.fullmatch(r"(\d{1,9})(k?)", text)
    return None if match is None else int(match[1]) * (1000 if match[2] else 1)
