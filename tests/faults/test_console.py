"""Nobody may read what a command prints: it goes on, and ends as it would have."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from Common.places import ROOT
from tests.support.short_run import outcome

# Prints more than any buffer holds, then leaves a file.
PROGRAM = """
import sys
from pathlib import Path
from tqdm import tqdm
from Common.errors import UserError
from Common.commands.exits import exit_with_message

with exit_with_message():
    for i in range(2000):
        print("line", i, "of a long output that fills the pipe's buffer", flush=i % 7 == 0)
        print("and", i, file=sys.stderr)
    list(tqdm(range(3)))
    print("\\u00fc \\udcff", flush=True)
    with open(sys.argv[1], "w") as file:
        print("still not into the file", flush=True)
        file.write("done")
    if sys.argv[2:]:
        raise UserError("bad input")
"""


def run(tmp_path: Path, redirections: str, *arguments: str, **env: str) -> int:
    """The program's exit code, with its output sent where a shell is told to."""
    done = tmp_path / "done"
    command = [sys.executable, "-c", PROGRAM, str(done), *arguments]
    script = f'"$@" {redirections}; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(
        ["bash", "-c", script, "bash", *command],
        cwd=ROOT,
        env={**os.environ, **env},
        timeout=60,
        check=False,
    )
    assert done.read_text() == "done"
    return ended.returncode


@pytest.mark.parametrize(
    "redirections",
    [
        "| head -1",
        "2>&1 | head -1",
        ">/dev/full",
        "2>/dev/full >/dev/null",
        ">/dev/full 2>&1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
    ],
)
def test_output_that_cannot_be_written_changes_nothing(redirections, tmp_path):
    assert run(tmp_path, redirections) == 0


def test_the_exit_code_of_bad_input_stays(tmp_path):
    assert run(tmp_path, ">/dev/full 2>&1", "fail") == 2


def test_letters_that_the_terminal_has_not_are_written_otherwise(tmp_path):
    code = run(tmp_path, f">{tmp_path}/out 2>/dev/null", PYTHONIOENCODING="ascii")
    assert code == 0
    assert "\\xfc \\udcff\n" in (tmp_path / "out").read_text()


class Broken(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_run_whose_output_nobody_reads_is_the_same_run(
    pusher: Callable[..., Path], tmp_path, monkeypatch
):
    folder = pusher("--PPD", "--mode", "State")
    expected = outcome(folder)
    folder.rename(tmp_path / "first")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Broken())
    folder = pusher("--PPD", "--mode", "State")
    assert outcome(folder) == expected
    assert (folder / "checkpoints" / "finished").is_file()
