"""Datasets of another origin: written whole or not at all, and what is said of them later."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from Common.errors import UserError
from Common.files.locks import LOCK_FILE, locked
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset.format import IMPORTED_BY, MANIFEST, Manifest, Recipe, shard_name
from Enviroment.dataset.imported import Episode, foreign_recipe, with_origin, write_episodes
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.verify import check_content, repair_hint, verify
from tests.support.faults.killed_child import kill_at_write, largest_file, run_child
from tests.support.refusal import refusal
from tests.support.tiny_dataset import TASK, ArithmeticTeacher, collect_tiny

KILLED = -signal.SIGKILL
LENGTHS = [3, 5, 4, 2, 6]
RECIPE = dataclasses.replace(
    foreign_recipe("mine-v1", "import", TASK, LENGTHS), episodes_per_shard=2
)


def episodes(lengths: list[int] = LENGTHS) -> Iterator[Episode]:
    for length in lengths:
        frames = np.full((length + 1, 1, 16, 24), length, np.uint8)
        states = np.zeros((length + 1, 10), np.float32)
        ends = np.arange(length) == length - 1
        yield {
            "frame": frames[:-1],
            "state": states[:-1],
            "action": np.zeros((length, 2), np.float32),
            "reward": np.ones(length, np.float32),
            "terminated": ends,
            "truncated": np.zeros(length, bool),
            "seed": np.array([-1]),
            "final_frame": frames[-1:],
            "final_state": states[-1:],
        }


def broken() -> Iterator[Episode]:
    yield from list(episodes())[:-1]
    raise UserError("Episode 4 does not fit.")


def write(folder: Path, found: Callable[[], Iterator[Episode]] = episodes) -> None:
    write_episodes(folder, RECIPE, TASK, Path("mine-v1"), found())


def test_a_folder_is_whole_and_a_new_or_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / LOCK_FILE).write_text("process 1 on another")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("new", "deep/new", "killed", "link"):
        write(tmp_path / name)
        assert TeacherDataset.open(tmp_path / name, TASK).lengths.tolist() == LENGTHS
        assert not verify(tmp_path / name)
    assert (tmp_path / "link").is_symlink()
    assert len(list((tmp_path / "empty").iterdir())) == 4  # where the link leads
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["deep", "empty", "killed", "link", "new"]


def test_an_episode_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(UserError, match="Episode 4"):
            write(tmp_path / name, broken)
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []
    write(tmp_path / "new")  # the same command, repeated


def test_episodes_that_are_missing_are_an_error(tmp_path: Path) -> None:
    """As of an exported dataset that another tool has shortened."""
    with pytest.raises(UserError, match="holds 14 of the 20 steps that were exported"):
        write(tmp_path / "new", lambda: episodes(LENGTHS[:-1]))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_does_not_advise_to_resume(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_child(lambda: write(tmp_path / "new"), largest_file(4000)) == 1
    said = capfd.readouterr().err
    assert "cannot be written" in said
    assert "Free space, or name another `folder`." in said
    assert "resume" not in said
    assert os.listdir(tmp_path) == []


def test_a_kill_at_any_write_does_not_stand_in_the_way(tmp_path: Path) -> None:
    code, k = KILLED, 0
    while code == KILLED:
        folder = tmp_path / str(k) / "data"
        folder.mkdir(parents=True)  # empty, so that it has to give way
        code = run_child(lambda at=folder: write(at), kill_at_write(k))
        if not (folder / MANIFEST).exists():
            write(folder)
        check_content(folder)
        assert TeacherDataset.open(folder, TASK).lengths.tolist() == LENGTHS
        assert os.listdir(folder.parent) == ["data"]
        k += 3
    assert code == 0
    assert k > 30


def test_a_folder_that_is_not_free_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty\. Name another `folder`"):
        write(tmp_path)

    def begun_meanwhile() -> Iterator[Episode]:
        yield from episodes()
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match="is not empty"):
        write(tmp_path / "data", begun_meanwhile)
    assert os.listdir(tmp_path / "data") == ["notes.txt"]
    with locked(tmp_path / "other"), pytest.raises(UserError, match="is being written by"):
        write(tmp_path / "other")
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    with pytest.raises(UserError, match=r"root of a disk.*Name a folder in it"):
        write(tmp_path / "new")


# -- what is said of them --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({IMPORTED_BY: "import"}, "by `python -m Enviroment.dataset import`."),
        ({IMPORTED_BY: "import-lerobot"}, "by `python -m Enviroment.dataset import-lerobot`."),
        ({}, "dataset import`, or `import-lerobot` if it is a dataset of LeRobot."),  # older
        ({IMPORTED_BY: ["rm -r"]}, "dataset import`, or `import-lerobot` if"),
    ],
)
def test_a_damaged_import_names_its_command(tmp_path: Path, changes: dict, remedy: str) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / shard_name(1)).write_bytes(b"")
    path = tmp_path / "a" / MANIFEST
    data = json.loads(path.read_text())
    data["recipe"]["teacher"] = {"imported_from": "mine-v1", **changes}
    path.write_text(json.dumps(data))
    said = repair_hint(tmp_path / "a", Manifest.read(tmp_path / "a"))
    assert said.startswith(f"Delete {tmp_path / 'a'}, and import mine-v1 again by ")
    assert remedy in said
    for check in (check_content, TeacherDataset.open):
        with pytest.raises(UserError) as error:
            check(tmp_path / "a")
        assert said in str(error.value)


def test_changed_on_the_way_names_its_command(tmp_path: Path) -> None:
    kept: Recipe = Manifest.read(collect_tiny(tmp_path / "a", 20)).recipe
    recipe = with_origin(kept, "films", "import-lerobot")
    assert recipe.teacher["sha256"] == kept.teacher["sha256"]
    assert "import-lerobot`." in repair_hint(tmp_path, Manifest(recipe, {}, {}))


def test_verify_reports_what_is_not_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = ArithmeticTeacher()
    teacher.fail_after = 1
    with pytest.raises(KeyboardInterrupt):
        collect_tiny(tmp_path / "a", teacher=teacher)
    half = Manifest(RECIPE, {}, {})  # as older versions left an import that was stopped
    (tmp_path / "b").mkdir()
    half.write(tmp_path / "b")
    stopped = "holds 0 of 130 steps: its collection was stopped. Repeat the command that"
    imported = f"import was stopped. Delete {tmp_path / 'b'}, and import mine-v1 again by"
    for name, words in (("a", stopped), ("b", imported)):
        said = refusal(capsys, lambda at=name: dataset_tools.main(["verify", str(tmp_path / at)]))
        assert words in said
        with pytest.raises(UserError, match=words):
            TeacherDataset.open(tmp_path / name, TASK)
