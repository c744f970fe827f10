"""Damaged datasets as the commands meet them: what they say, exit code 2, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from Common.errors import UserError
from Distillation.command import main
from Distillation.flags.parse import parse
from Distillation.starting import teacher_data as datasets
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset import collect as collection
from Enviroment.dataset import reader as reader
from Enviroment.dataset.format import IMPORTED_FROM, MANIFEST, Manifest, shard_name
from Enviroment.dataset.verify import verify
from Enviroment.tasks import get_task
from Models.teacher.corruption import corrupt
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher, save_teacher
from tests.support.refusal import refusal
from tests.support.short_for import short_for
from tests.support.short_run import failure
from tests.support.tiny_dataset import ArithmeticTeacher, collect_tiny, content
from tests.support.tiny_teacher import tiny_teacher

SHARD = shard_name(1)
TASK = replace(get_task("Pusher"), frame_size=(16, 16))
ONE_EPISODE = 16 * 16 * 100  # bytes of its frames: a shard each


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `python -m Enviroment.dataset` says on standard error; its exit code is 2."""
    return refusal(capsys, lambda: dataset_tools.main(list(arguments)))


@pytest.fixture(scope="module")
def whole(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of Pusher."""
    folder = tmp_path_factory.mktemp("damage") / "dataset"
    labeller = TeacherLabeller(Teacher.load(teacher, min_std=0.2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", ONE_EPISODE)
        return collection.collect(TASK, labeller, folder, 300, n_envs=1, n_workers=1)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def double(path: Path) -> None:
    shutil.copy(path.with_name(shard_name(0)), path)


def edit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# -- shards ---------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [Path.unlink, truncate, double, edit])
def test_a_damaged_shard_stops_every_command_and_is_repaired(
    whole: Path,
    copy: Path,
    teacher: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(copy / SHARD)
    left = content(copy)
    cloning = ("--BC_phase", "--dataset", str(copy), "--teacher", str(teacher))
    cloning += short_for("--BC_phase")
    collecting = ("--C_data", "--num_data", "300", "--resume", "--frame_size", "16x16")
    collecting += ("--behaviour_noise", "0")
    said = [failed(capsys, tool, str(copy)) for tool in ("verify", "info")]
    said.append(failure(capsys, *cloning, "--output", str(tmp_path / "run")))
    if damage is not edit:  # what the size and header do not tell, a mere look does not see
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(collection, "_SHARD_BYTES", ONE_EPISODE)
            where = ("--teacher", str(teacher), "--output", str(copy), "--threads", "1")
            said.append(failure(capsys, *collecting, *where))
    for message in said:
        assert str(copy / SHARD) in message
        assert f"dataset repair {copy} --teacher DIR" in message
    assert not (tmp_path / "run").exists()
    assert content(copy) == left
    dataset_tools.main(["repair", str(copy), "--teacher", str(teacher)])
    assert f"{copy / SHARD} is repaired" in capsys.readouterr().out
    assert content(copy) == content(whole)


def test_a_shard_too_many(copy: Path, teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surplus = copy / shard_name(7)
    shutil.copy(copy / SHARD, surplus)
    left = content(copy)
    tools = [["verify", str(copy)], ["info", str(copy)]]
    tools.append(["repair", str(copy), "--teacher", str(teacher)])
    said = [failed(capsys, *tool) for tool in tools]
    said.append(failure(capsys, "--BC_phase", "--dataset", str(copy), "--frame_size", "16x16"))
    for message in said:
        assert f"{surplus} is not in the manifest" in message
        assert "delete it, or move it away" in message.lower()
    assert content(copy) == left


def test_what_was_imported_is_imported_again(
    copy: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / MANIFEST
    data = json.loads(path.read_text())
    data["recipe"]["teacher"] = {IMPORTED_FROM: "mine-v1"}
    path.write_text(json.dumps(data))
    remedy = "import mine-v1 again by `python -m Enviroment.dataset import`"
    assert remedy in failed(capsys, "verify", str(copy))
    assert "lacks the settings of its teacher" in failed(
        capsys, "repair", str(copy), "--teacher", str(teacher)
    )
    with pytest.raises(UserError, match=remedy):
        collection.repair(copy, ArithmeticTeacher(), [0])


# -- the manifest ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"kind": "teacher_dataset", "format": 1}', None],
    ids=["empty", "cut off", "list", "nothing in it", "counts"],
)
def test_a_manifest_that_disagrees(
    copy: Path, tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / MANIFEST
    if text is None:
        data = json.loads(path.read_text())
        data["steps"] += 1
        text = json.dumps(data)
    path.write_text(text)
    left = content(copy)
    collecting = ("--C_data", "--num_data", "300", "--resume", "--output", str(copy))
    for message in (
        failed(capsys, "verify", str(copy)),
        failed(capsys, "info", str(copy)),
        failed(capsys, "repair", str(copy), "--teacher", str(tmp_path)),
        failure(capsys, "--BC_phase", "--dataset", str(copy), "--output", str(tmp_path / "run")),
        failure(capsys, *collecting),
    ):
        assert f"{path} cannot be used" in message
        assert "Restore it from a copy" in message
    assert not (tmp_path / "run").exists()
    assert content(copy) == left


def test_another_task_frame_size_or_floor(
    copy: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = content(copy)
    start = ("--BC_phase", "--dataset", str(copy), "--teacher", str(teacher))
    start += short_for("--BC_phase")
    start += ("--output", str(tmp_path / "run"))
    message = failure(capsys, *start, "--frame_size", "32x32")
    assert "frame_size: [16, 16], wanted [32, 32]" in message
    assert "--C_data --num_data 300 --frame_size 32x32" in message
    with pytest.raises(SystemExit) as exit_:
        main("Reacher", list(start))
    assert exit_.value.code == 2
    message = failure(capsys, *start, "--min_teacher_std", "0.3")
    assert "labelled with --min_teacher_std 0.2, not 0.3. Give that one" in message
    assert not (tmp_path / "run").exists()
    assert content(copy) == left


# -- teachers -------------------------------------------------------------------------


@pytest.mark.parametrize("saved", [False, True], ids=["noise from the manifest", "in the bundle"])
def test_repair_asks_the_teacher_as_it_was_asked(
    tmp_path: Path, saved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another floor of the deviations, and with noise on the weights."""
    bundled = tiny_teacher(state_dim=10, action_dim=2, bound=1.0, task="Reacher")
    bundled = corrupt(bundled, 0.05, seed=3) if saved else bundled
    save_teacher(tmp_path / "teacher", dict(bundled.state_dict()), bundled.description, {})
    loaded = Teacher.load(tmp_path / "teacher", min_std=0.7)
    noisy = loaded if saved else corrupt(loaded, 0.05, seed=3)
    folder = collect_tiny(tmp_path / "data", 40, teacher=TeacherLabeller(noisy))
    recipe = Manifest.read(folder).recipe.teacher
    asked = [recipe[name] for name in ("min_std", "corruption_sigma", "corruption_seed")]
    assert asked == [0.7, 0.05, 3]
    before = content(folder)
    (folder / shard_name(0)).unlink()
    dataset_tools.main(["repair", str(folder), "--teacher", str(tmp_path / "teacher")])
    assert content(folder) == before


@pytest.mark.parametrize("wrong", [{"min_std": "wide"}, {"min_std": None}, {"min_std": -1.0}])
def test_a_manifest_that_asks_nonsense_of_its_teacher(
    copy: Path, teacher: Path, wrong: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / MANIFEST
    data = json.loads(path.read_text())
    data["recipe"]["teacher"] |= wrong
    path.write_text(json.dumps(data))
    said = failed(capsys, "repair", str(copy), "--teacher", str(teacher))
    assert "lacks the settings of its teacher" in said or "min_std -1.0 must be above 0" in said


def test_collect_missing_leaves_the_teacher_where_it_is(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []
    to = Teacher.to

    def spy(self: Teacher, *arguments: object) -> Teacher:
        moved.append(id(self))
        return to(self, *arguments)  # pyright: ignore[reportCallIssue, reportArgumentType]

    loaded = Teacher.load(teacher, min_std=0.2)
    monkeypatch.setattr(Teacher, "to", spy)
    monkeypatch.setattr(reader, "RESULTS", tmp_path)
    given = ("--BC_phase", "--dataset", "100", "--collect_missing", "--threads", "1")
    dataset = datasets.find_dataset(TASK, parse(TASK, given), loaded, tmp_path)
    assert len(dataset) == 100
    assert moved and id(loaded) not in moved


def test_collect_missing_goes_on_with_what_a_stopped_run_left(
    whole: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_SHARD_BYTES", ONE_EPISODE)
    monkeypatch.setattr(reader, "RESULTS", tmp_path)
    loaded = Teacher.load(teacher, min_std=0.2)
    folder = reader.dataset_folder(TASK, 300)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    labeller = TeacherLabeller(loaded)
    with pytest.raises(KeyboardInterrupt):
        collection.collect(TASK, labeller, folder, 300, n_workers=1, progress=stop)
    assert len(Manifest.read(folder).shards) == 1
    given = ("--BC_phase", "--dataset", "300", "--collect_missing", "--threads", "1")
    given += ("--behaviour_noise", "0")
    datasets.find_dataset(TASK, parse(TASK, given), loaded, tmp_path)
    assert content(folder) == content(whole)


# -- a full disk ----------------------------------------------------------------------

_FULL_AFTER_ONE = """
import resource, sys
from Distillation import command
from Distillation.starting import teacher_data
from Enviroment.dataset import collect as collection
collection._SHARD_BYTES = int(sys.argv.pop(1))
collect = teacher_data.collect

def until_the_disk_is_full(*arguments, progress, **settings):
    def then(done, total):
        progress(done, total)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    return collect(*arguments, progress=then, **settings)

teacher_data.collect = until_the_disk_is_full
command.main("Pusher")
"""


def in_a_child(code: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs Python with a limit that this process must not have."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_disk_that_is_full_after_one_shard(
    whole: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "full"
    flags = ["--C_data", "--num_data", "300", "--teacher", str(teacher), "--output", str(folder)]
    flags += ["--frame_size", "16x16", "--behaviour_noise", "0", "--threads", "1"]
    child = in_a_child(_FULL_AFTER_ONE, [str(ONE_EPISODE), *flags])
    assert child.returncode == 2, child.stderr
    assert f"{folder / SHARD} cannot be written: File too large" in child.stderr
    assert "--resume" in child.stderr
    assert "Traceback" not in child.stderr
    # The first shard is complete, and nothing unfinished lies beside it.
    assert sorted(content(folder)) == [MANIFEST, shard_name(0)]
    assert not verify(folder)
    monkeypatch.setattr(collection, "_SHARD_BYTES", ONE_EPISODE)
    main("Pusher", [*flags, "--resume"])
    assert content(folder) == content(whole)
