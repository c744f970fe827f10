"""Folders that appear whole or not at all, also with several commands at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from Common.files.durable import publishing
from tests.support.faults.killed_child import kill_at_write, run_child

KILLED = -signal.SIGKILL


def publish(folder: Path, text: str = "whole") -> None:
    with publishing(folder) as unfinished:
        (unfinished / "content").write_text(text)


def publish_half(folder: Path) -> None:
    with publishing(folder) as unfinished:
        (unfinished / "content").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_at_once_do_not_write_into_one_another(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def publish_beside_another() -> None:
        with publishing(folder) as first:
            (first / "content").write_text("first")
            publish(folder, "second")
            assert (first / "content").read_text() == "first"

    with pytest.raises(FileExistsError, match="there already"):
        publish_beside_another()
    assert os.listdir(tmp_path) == ["out"]
    assert (folder / "content").read_text() == "second"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    others = [".out.partial", ".out.txt.partial", ".other.0123456789abcdef.partial"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.0123456789abcdef.partial").symlink_to(tmp_path / others[0])
    others.append(".out.0123456789abcdef.partial")
    assert run_child(lambda: publish_half(folder)) == KILLED
    left = set(os.listdir(tmp_path)) - set(others)
    assert len(left) == 1
    publish(folder)
    assert set(os.listdir(tmp_path)) == {"out", *others}


def test_another_process_keeps_its_unfinished_folder(tmp_path: Path) -> None:
    with publishing(tmp_path / "out") as unfinished:
        (unfinished / "content").write_text("mine")
        assert run_child(lambda: publish_half(tmp_path / "out")) == KILLED
        assert (unfinished / "content").read_text() == "mine"
    assert (tmp_path / "out" / "content").read_text() == "mine"


def test_a_kill_at_every_write_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    code, k = KILLED, 0
    while code == KILLED:
        folder = tmp_path / str(k) / "out"
        folder.parent.mkdir()
        code = run_child(lambda at=folder: publish(at), kill_at_write(k))
        if folder.exists():
            assert (folder / "content").read_text() == "whole"
        else:
            publish(folder)
        assert [name for name in os.listdir(folder.parent) if name != "out"] == []
        k += 1
    assert code == 0
    assert k > 5
