"""Checks of settings, plurals, and JSON objects of files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from Common.checks import check_at_least, check_not_negative, check_positive, check_shares
from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.names import counted


@dataclass(frozen=True)
class Settings:
    rate: Any = None


@pytest.mark.parametrize(
    ("check", "good", "bad", "what"),
    [
        (check_positive, (1e-9, 3), (0, -1.0, math.inf, math.nan), "finite and above 0"),
        (check_not_negative, (0, 0.5), (-1e-9, math.inf, math.nan), "finite and at least 0"),
        (check_shares, (0, 0.5, 1), (-1e-9, 1.1, math.nan), r"in \[0, 1\]"),
    ],
)
def test_a_setting_outside_its_range_is_named_with_its_value(check, good, bad, what):
    for value in (*good, None, lambda progress: -progress):  # a schedule is not checked
        check(Settings(value), "rate")
    for value in bad:
        with pytest.raises(UserError, match=rf"`rate` {value} must be {what}\."):
            check(Settings(value), "rate")


def test_minimum_values():
    check_at_least(Settings(2), rate=2)
    with pytest.raises(UserError, match=r"`rate` 1 must be at least 2\."):
        check_at_least(Settings(1), rate=2)


def test_a_number_with_its_noun():
    assert [counted(n, "run") for n in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]


def test_the_object_of_a_file(tmp_path: Path):
    path = tmp_path / "a.json"
    assert read_object(path) is None
    path.write_text('{"a": 1}')
    assert read_object(path) == {"a": 1}
    for content, why in (("{", "is not JSON"), ("[1]", "does not hold a JSON object")):
        path.write_text(content)
        with pytest.raises(UserError, match=f"a.json {why}"):
            read_object(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read_object(path)
