"""Files and folders that appear whole or not at all, also with several commands at once."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from Common.files.durable import publishing, replacing
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


# -- single files ---------------------------------------------------------------------------------


def test_two_writers_of_one_file_publish_each_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(b"old")
    with contextlib.ExitStack() as first:
        first.enter_context(replacing(path)).write(b"first")
        with replacing(path) as second:
            second.write(b"half")
            second.flush()
            first.close()
            assert path.read_bytes() == b"first"
            second.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert os.listdir(tmp_path) == [path.name]


def test_one_that_fails_leaves_the_unfinished_file_of_another(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    with replacing(path) as first:
        first.write(b"first")
        with pytest.raises(TypeError), replacing(path) as second:
            second.write("text")  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == [path.name]


def test_what_a_killed_writer_left_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    path, outside = tmp_path / "figures.json", tmp_path / "outside"
    outside.write_bytes(b"theirs")
    unfinished = tmp_path / ".figures.json.partial"
    for leave in (lambda: unfinished.write_bytes(b"half"), lambda: unfinished.symlink_to(outside)):
        leave()
        with replacing(path) as file:
            file.write(b"whole")
        assert path.read_bytes() == b"whole"
    assert outside.read_bytes() == b"theirs"
    assert sorted(os.listdir(tmp_path)) == ["figures.json", "outside"]
