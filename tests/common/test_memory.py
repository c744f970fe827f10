"""Freed memory stays in the process: the second use of a large block faults in no pages."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from Common import memory

_FAULTS = """
import ctypes, json, resource, sys
from Common.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
supported = keep_freed_memory() if sys.argv[1] == "keep" else None
counts = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps([supported, counts]))
"""

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")


def faults(mode: str) -> tuple[bool | None, list[int]]:
    """Use a block of 64 MiB three times in a new process; return the page faults of each time."""
    command = [sys.executable, "-c", _FAULTS, mode]
    supported, counts = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return supported, counts


@needs_glibc
def test_a_block_is_faulted_in_once() -> None:
    """64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB."""
    supported, counts = faults("keep")
    assert supported and counts[0] >= 32
    assert max(counts[1:]) < 32


@needs_glibc
def test_by_default_it_is_faulted_in_each_time() -> None:
    assert min(faults("default")[1]) >= 32


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_left_unchanged(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", system)
    assert not memory.keep_freed_memory()


def test_a_c_library_without_mallopt_is_left_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_freed_memory()
