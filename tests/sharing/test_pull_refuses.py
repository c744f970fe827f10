"""What `pull` refuses: files that could hold code, damaged ones, and ones that are too large."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from Common.errors import UserError
from Common.places import SHIPPED
from Sharing.contents import CONTENTS
from tests.support.sharing.stand_in_hub import StandIn
from tests.support.tiny_dataset import collect_tiny, content
from vision_distillation import pull

TEACHER = SHIPPED / "Pusher" / "teachers" / "ppo"


def teacher_files() -> dict[str, bytes]:
    names = ("teacher.json", "teacher.safetensors")
    return {name: (TEACHER / name).read_bytes() for name in names}


def refused(hub: StandIn, tmp_path: Path, name: str, match: str, *, looked: bool = False) -> None:
    """Pull must be refused, and leave nothing; unless `looked`, no file is downloaded either."""
    with pytest.raises(UserError, match=match):
        pull(name, tmp_path / "pulled")
    assert list(tmp_path.glob("*pulled*")) == []
    assert looked or not any("/resolve/" in path for _, path in hub.asked)


@pytest.mark.parametrize(
    "stranger",
    ["teacher.pkl", "agent.zip", "load.py", "pytorch_model.bin", "deep/down/x.pt", "a.npy", "run"],
)
def test_files_that_could_hold_code(hub: StandIn, tmp_path: Path, stranger: str) -> None:
    bomb = pickle.dumps({"weights": [1.0]})
    hub.add("someone/agent", {**teacher_files(), stranger: bomb})
    refused(hub, tmp_path, "someone/agent", f"holds '{stranger}', which a teacher never has")


def test_a_path_that_leaves_the_folder(hub: StandIn, tmp_path: Path) -> None:
    hub.add("someone/agent", {**teacher_files(), "../../evil.json": b"{}"})
    refused(hub, tmp_path, "someone/agent", "evil.json', which a teacher never has")


def test_pictures_and_texts_are_left_where_they_are(hub: StandIn, tmp_path: Path) -> None:
    extra = {"LICENSE": b"MIT", "pictures/a.png": b"x", "notes.txt": b"x", ".gitattributes": b""}
    hub.add("someone/agent", {**teacher_files(), **extra})
    assert content(pull("someone/agent", tmp_path / "pulled")) == teacher_files()


def test_a_hash_that_differs(hub: StandIn, tmp_path: Path) -> None:
    files = teacher_files()
    files["teacher.safetensors"] = files["teacher.safetensors"][:-1] + b"x"
    hub.add("someone/agent", files)
    said = r"someone/agent is refused, and was deleted here: .*its SHA-256 differs"
    refused(hub, tmp_path, "someone/agent", said, looked=True)


def test_a_description_that_was_changed(hub: StandIn, tmp_path: Path) -> None:
    files = teacher_files()
    files["teacher.json"] = files["teacher.json"].replace(b'"gamma": 0.99', b'"gamma": 0.98', 1)
    assert files != teacher_files()
    hub.add("someone/agent", files)
    refused(hub, tmp_path, "someone/agent", "changed or damaged since it was written", looked=True)


def test_files_that_are_missing_or_too_large(hub: StandIn, tmp_path: Path) -> None:
    files = teacher_files()
    del files["teacher.safetensors"]
    hub.add("someone/half", files)
    refused(
        hub, tmp_path, "someone/half", "has no teacher.safetensors: it is not a complete teacher"
    )
    hub.add("someone/empty", {"README.md": b"x"})
    refused(hub, tmp_path, "someone/empty", r"none of student.json, teacher.json, but README.md")
    hub.add("someone/two", {**teacher_files(), "student.json": b"{}"})
    refused(hub, tmp_path, "someone/two", r"several of student.json, teacher.json")
    hub.add("someone/long", {**teacher_files(), "README.md": b" " * (2**20 + 1)})
    refused(hub, tmp_path, "someone/long", r"README.md has 1048577 bytes, more than the 1048576")


def test_a_repository_or_revision_that_is_not_there(hub: StandIn, tmp_path: Path) -> None:
    hub.add("someone/agent", teacher_files())
    refused(hub, tmp_path, "someone/agnet", "someone/agnet cannot be read: .*Check the name")
    with pytest.raises(UserError, match="someone/agent cannot be read: Revision"):
        pull("someone/agent", tmp_path / "x", revision="v9")
    with pytest.raises(UserError, match="datasets/someone/agent cannot be read"):
        pull("datasets/someone/agent", tmp_path / "x")


def test_a_folder_that_is_there(hub: StandIn, tmp_path: Path) -> None:
    hub.add("someone/agent", teacher_files())
    with pytest.raises(UserError, match=r"`output` .* exists already"):
        pull("someone/agent", tmp_path)
    assert not hub.asked


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(collect_tiny(tmp_path_factory.mktemp("steps") / "data", 40))


def test_shards_that_are_not_those_of_the_manifest(
    hub: StandIn, tmp_path: Path, steps: dict[str, bytes]
) -> None:
    shard = "shard_00000.safetensors"
    said = f"{shard} are not as manifest.json lists them"
    hub.add("someone/cut", {**steps, shard: steps[shard][:-8]}, "dataset")
    refused(hub, tmp_path, "datasets/someone/cut", said, looked=True)
    assert not any(path.endswith(shard) for _, path in hub.asked), "it was not downloaded"
    surplus = {**steps, "shard_00007.safetensors": b"x"}
    hub.add("someone/more", surplus, "dataset")
    said = "shard_00007.safetensors are not as manifest.json lists them"
    refused(hub, tmp_path, "datasets/someone/more", said, looked=True)
    changed = steps[shard][:-1] + bytes([steps[shard][-1] ^ 1])
    hub.add("someone/bit", {**steps, shard: changed}, "dataset")
    refused(hub, tmp_path, "datasets/someone/bit", "its SHA-256 differs", looked=True)


def test_a_manifest_that_is_none(hub: StandIn, tmp_path: Path, steps: dict[str, bytes]) -> None:
    hub.add("someone/other", {**steps, "manifest.json": json.dumps({}).encode()}, "dataset")
    refused(hub, tmp_path, "datasets/someone/other", "cannot be used", looked=True)


def test_every_kind_has_a_limit_for_every_file() -> None:
    for contents in CONTENTS.values():
        assert contents.limit(contents.head)
        assert contents.limit("README.md")
        assert contents.limit("x.pkl") is None
