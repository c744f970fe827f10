"""Counts, durations and commands in words."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from Common.commands.wording import (
    aligned,
    duration,
    short_count,
    shown_path,
    typed_command,
)
from Common.names import counted
from Common.places import ROOT


def test_one_is_singular() -> None:
    assert [counted(n, "unseen seed") for n in (0, 1, 2, 1_000)] == [
        *("0 unseen seeds", "1 unseen seed", "2 unseen seeds", "1,000 unseen seeds"),
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0, "0"), (850, "850"), (1_000, "1k"), (25_344, "25.3k"), (99_990, "100k")),
        *((350_000, "350k"), (999_999, "1M"), (1_234_567, "1.2M"), (12_000_000, "12M")),
    ],
)
def test_large_counts_are_short(number: int, text: str) -> None:
    assert short_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (95, "2 min"), (360, "6 min"), (5_399, "1 h 30 min")],
)
def test_durations_are_as_exact_as_needed(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_names_are_aligned() -> None:
    assert aligned({"a": "x", "abc": "y"}) == "a    x\nabc  y"


def test_a_path_below_is_shown_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "my run" / "a") == "my run/a"
    assert shown_path("/elsewhere") == "/elsewhere"


def test_a_command_names_a_python_and_a_script_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one on the path if it is of the same environment, otherwise the one that runs."""
    command = ("python", "Distillation/Pusher.py", "--output", "my run")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    python, script, *rest = shlex.split(typed_command(command))
    assert Path(python) == Path(sys.executable)
    assert Path(script) == ROOT / "Distillation" / "Pusher.py"
    assert rest == ["--output", "my run"]
    program = tmp_path / "python"
    program.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nowhere")
    monkeypatch.chdir(ROOT)
    assert typed_command(command) == "python Distillation/Pusher.py --output 'my run'"
    assert typed_command(("python", "-m", "Evaluation.report", "a")) == (
        "python -m Evaluation.report a"
    )
