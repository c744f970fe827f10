"""Push to a stand-in of the Hub, and pull from it: every byte comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from Common.commands.toolkit import main
from Common.errors import UserError
from Common.places import SHIPPED
from Enviroment.dataset.reader import TeacherDataset
from Models.teacher.bundle import save_teacher
from Models.teacher.policy import Teacher
from tests.support.refusal import refusal
from tests.support.sharing.stand_in_hub import TOKEN, StandIn
from tests.support.tiny_dataset import TASK, collect_tiny, content
from tests.support.tiny_teacher import tiny_teacher
from vision_distillation import Student, pull, push

STUDENT = SHIPPED / "Pusher" / "students" / "ppd_small"


def tiny_bundle(folder: Path, **given) -> Path:
    teacher = tiny_teacher(**given)
    tensors = {name: t.detach() for name, t in teacher.state_dict().items()}
    save_teacher(folder, tensors, teacher.description, {})
    return folder


def test_a_student_there_and_back(hub: StandIn, tmp_path: Path, capfd) -> None:
    url = push(STUDENT, "me/ppd-pusher")
    repo = hub.repo("me/ppd-pusher")
    assert url == f"{hub.url}/me/ppd-pusher/commit/{repo.sha()}"
    sent = {name: repo.files[name] for name in ("student.json", "student.safetensors")}
    assert sent == {name: (STUDENT / name).read_bytes() for name in sent}
    assert repo.files["replay.mp4"] == (STUDENT / "student.mp4").read_bytes()
    assert repo.files["evaluation.json"] == (STUDENT / "evaluation.json").read_bytes()
    assert [repo.files["README.md"].decode()] == hub.cards

    folder = pull("me/ppd-pusher", tmp_path / "pulled")
    assert content(folder) == {n: repo.files[n] for n in repo.files if n != ".gitattributes"}
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 1, 64, 64), np.uint8)
    joints = rng.normal(size=(3, 17)).astype(np.float32)
    before, after = (Student.load(path).act(frames, joints) for path in (STUDENT, folder))
    np.testing.assert_array_equal(before, after)

    said = capfd.readouterr()
    assert TOKEN not in said.out + said.err
    assert not any(TOKEN.encode() in file for file in repo.files.values())


def test_a_teacher_there_and_back_by_command(
    hub: StandIn, tmp_path: Path, capsys, monkeypatch
) -> None:
    bundle = tiny_bundle(tmp_path / "teacher")
    monkeypatch.setattr("sys.argv", ["vision-distillation"])
    main(["push", str(bundle), "me/sac-pusher", "--private", "--license", "apache-2.0"])
    assert f"Pushed: {hub.url}/me/sac-pusher/commit/" in capsys.readouterr().out
    repo = hub.repo("me/sac-pusher")
    assert repo.private
    assert b"license: apache-2.0" in repo.files["README.md"]
    monkeypatch.chdir(tmp_path)
    main(["pull", "me/sac-pusher"])
    said = capsys.readouterr().out
    assert "A teacher, verified, is in sac-pusher." in said
    assert "vision-distillation inspect sac-pusher" in said
    assert Teacher.load("sac-pusher").description == Teacher.load(bundle).description
    monkeypatch.delenv("HF_TOKEN")
    asked = refusal(capsys, lambda: main(["pull", "me/sac-pusher", "--output", "again"]))
    assert "me/sac-pusher cannot be read" in asked
    assert "HF_TOKEN" in asked
    assert not Path("again").exists()


def test_a_dataset_there_and_back(hub: StandIn, tmp_path: Path) -> None:
    folder = collect_tiny(tmp_path / "data", 60)
    before = content(folder)
    push(folder, "me/reacher-steps")
    assert content(folder) == before, "pushing changes nothing in the folder"
    pulled = pull("datasets/me/reacher-steps", tmp_path / "pulled")
    after = content(pulled)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"README.md", "contact_sheet.png"}
    assert len(TeacherDataset.open(pulled, TASK)) >= 60


def test_a_push_replaces_an_earlier_one(hub: StandIn, tmp_path: Path, monkeypatch) -> None:
    """Shards that the new dataset lacks would not match its manifest."""
    from Enviroment.dataset import collect as collection

    monkeypatch.setattr(collection, "_SHARD_BYTES", 3 * 12 * 16 * 24)
    push(collect_tiny(tmp_path / "long", 130), "me/steps")
    first = set(hub.repo("me/steps", "dataset").files)
    push(collect_tiny(tmp_path / "short", 40), "me/steps")
    second = set(hub.repo("me/steps", "dataset").files)
    assert first - second == {"shard_00002.safetensors", "shard_00003.safetensors"}
    pulled = pull("datasets/me/steps", tmp_path / "pulled")
    assert content(tmp_path / "short").items() <= content(pulled).items()
    old = hub.repo("me/steps", "dataset").sha(1)
    pulled = pull("datasets/me/steps", tmp_path / "old", revision=old)
    assert content(tmp_path / "long").items() <= content(pulled).items()


def test_a_push_never_mixes_two_things(hub: StandIn, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "teacher")
    push(bundle, "me/pusher")
    with pytest.raises(UserError, match="me/pusher holds a teacher already"):
        push(STUDENT, "me/pusher")
    hub.add("me/other", {"train.py": b"import os"})
    with pytest.raises(UserError, match=r"'train.py', which a teacher never has"):
        push(bundle, "me/other")
    assert len(hub.repo("me/pusher").commits) == 2, "the new repository, and one push"


def test_without_a_token_nothing_is_pushed(hub: StandIn, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"me/x cannot be written: .*`hf auth login`"):
        push(tiny_bundle(tmp_path / "teacher"), "me/x")
    assert not hub.repos


@pytest.mark.parametrize("name", ["pusher", "me/a/b", "me/a b", "../..", "me/a--b", "spaces/me/a"])
def test_a_wrong_name_is_refused(hub: StandIn, tmp_path: Path, name: str) -> None:
    for call in (lambda: pull(name, tmp_path / "x"), lambda: push(STUDENT, name)):
        with pytest.raises(UserError, match=r"is not a name on the Hub: .*OWNER/NAME") as refused:
            call()
        assert "repo_type" not in str(refused.value)  # an argument that neither command has
    assert not hub.asked


def test_what_cannot_be_shared_is_refused(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        push(tmp_path / "none", "me/x")
    with pytest.raises(UserError, match=r"holds no student .* no teacher .* and no dataset"):
        push(tmp_path, "me/x")
    with pytest.raises(UserError, match="holds a student, but datasets/me/x is the name of a data"):
        push(STUDENT, "datasets/me/x")
    bundle = tiny_bundle(tmp_path / "teacher")
    weights = bundle / "teacher.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="SHA-256 differs"):
        push(bundle, "me/x")
    assert not hub.asked


def test_without_the_library_the_command_that_installs_it(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr("sys.argv", ["vision-distillation"])
    for words in (
        ["push", str(STUDENT), "me/x"],
        ["pull", "me/x", "--output", str(tmp_path / "x")],
    ):
        said = refusal(capsys, lambda words=words: main(words))
        assert f"`{words[0]}` needs huggingface_hub: pip install huggingface_hub." in said
