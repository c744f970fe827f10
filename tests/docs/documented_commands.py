"""The commands and programs in README.md, docs/ and Results/*/README.md, as a reader types them.

bash itself reads each block: with no program to be found, it hands every command, after loops and
variables, to `command_not_found_handle`, which notes it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache

from Common.places import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_A_SENTENCE = re.compile(r"(?<!`)`((?:python|make|torchrun)\s[^`]+)`")
_NOTES = "9"  # the file descriptor that commands are noted in; a block may redirect the others
_NOTE_EACH = """
PATH=/nowhere
command_not_found_handle() {{
    printf '%s\\0' "${{PYTHONPATH-}}" "$@" >&{fd}
    printf '\\n\\0' >&{fd}
}}
set -eu
{block}
"""


@dataclass(frozen=True)
class Fence:
    """A block of a document between ``` and ```."""

    document: str  # its path below the checkout
    line: int  # that of its ```
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a block, as bash would start it."""

    fence: Fence
    words: tuple[str, ...]
    pythonpath: str = ""  # that the block sets for it

    def __str__(self) -> str:
        return shlex.join(self.words)

    @property
    def kind(self) -> str:
        """The same of commands that differ by their numbers alone, as those of a loop do."""
        return re.sub(r"\d+", "0", str(self))


def documents() -> list[str]:
    """The paths of all of them below the checkout."""
    paths = [*ROOT.glob("README.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("Results/*/README.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


@cache
def fences(document: str) -> tuple[Fence, ...]:
    """All blocks of a document, whatever their language."""
    text = (ROOT / document).read_text()
    return tuple(
        Fence(document, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _FENCE.finditer(text)
    )


@cache
def commands(fence: Fence) -> tuple[Command, ...]:
    """What a bash block starts, in order; of commands that differ by numbers alone the first."""
    script = _NOTE_EACH.format(fd=_NOTES, block=fence.text)
    noting = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", f"exec {_NOTES}>&1 >/dev/null\n{script}"],
        capture_output=True, text=True, env={}, cwd="/", timeout=20, check=False,
    )  # fmt: skip
    assert noting.returncode == 0, f"bash cannot read {fence.where}:\n{noting.stderr}"
    found = {}
    for noted in noting.stdout.split("\n\0")[:-1]:
        pythonpath, *words = noted.split("\0")[:-1]
        command = Command(fence, tuple(words), pythonpath)
        found.setdefault(command.kind, command)
    return tuple(found.values())


def all_commands() -> list[Command]:
    """Those of every bash block of every document."""
    return [
        command
        for document in documents()
        for fence in fences(document)
        if fence.language == "bash"
        for command in commands(fence)
    ]


def mentions() -> list[Command]:
    """Commands in the text between the blocks, which are not run: some leave out what they need."""
    found = []
    for document in documents():
        text = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), (ROOT / document).read_text())
        for mention in _IN_A_SENTENCE.finditer(text):
            line = text.count("\n", 0, mention.start()) + 1
            fence = Fence(document, line, "", mention[1])
            found.append(Command(fence, tuple(shlex.split(mention[1]))))
    return found
