"""Reading datasets, the tools around them, and what is refused."""

import hashlib
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from Common.errors import UserError
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset import collect as collection
from Enviroment.dataset import reader as reader
from Enviroment.dataset.format import (
    MANIFEST,
    Manifest,
    Recipe,
    ShardEntry,
    describe_task,
    shard_name,
)
from Enviroment.dataset.reader import TeacherDataset, resolve_dataset
from Enviroment.dataset.shards import Column
from Enviroment.dataset.verify import verify
from Enviroment.tasks import Camera, get_task
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher, save_teacher
from tests.support.tiny_dataset import LONGEST, TASK, ArithmeticTeacher, collect_tiny
from tests.support.tiny_teacher import tiny_teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """130 steps in shards of five episodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", 5 * LONGEST * 16 * 24)
        return collect_tiny(tmp_path_factory.mktemp("read") / "dataset")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def dataset(folder):
    return TeacherDataset.open(folder, TASK)


def edit(folder, change):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_the_format_is_what_it_was_before_games_had_datasets(tmp_path):
    """The hash is of that version: its datasets go on, and are repaired, with the same bytes."""
    task = describe_task(replace(get_task("Pusher"), frame_size=(64, 64)))  # as it was then
    teacher = {"sha256": "t", "family": "squashed_gaussian"}
    recipe = Recipe(task, teacher, 5, 0.5, 10_000_000, 100, 50, {"numpy": "2"})
    frame, state = Column("uint8", (1, 64, 128)), Column("float32", (23,))
    steps = {
        "frame": frame,
        "state": state,
        "action": Column("float32", (7,)),
        "reward": Column("float32", ()),
    }
    episodes = {"seed": Column("int64", ()), "final_frame": frame, "final_state": state}
    manifest = Manifest(recipe, steps, episodes, (ShardEntry(0, (100,), "s"),))
    manifest.write(tmp_path)
    written = (tmp_path / MANIFEST).read_bytes() + manifest.layout(0).header()
    expected = "b1294b324ddc6da869f57707a8cc05e3add05054c68faef8df9ab31600111b19"
    assert hashlib.sha256(written).hexdigest() == expected


@pytest.mark.parametrize(("stack", "interval"), [(4, 2), (1, 1), (3, 1), (2, 20)])
def test_stacks_by_hand(folder, stack, interval):
    """Frame t of the stack is that of step s - age, or the episode's first."""
    single = TeacherDataset.open(folder, replace(TASK, stack=1))
    dataset = TeacherDataset.open(folder, replace(TASK, stack=stack, frame_interval=interval))
    everything = np.arange(len(dataset))
    frames = single.read(everything, ["frame"])["frame"][:, 0]
    batch = dataset.read(everything, ["frame", "episode", "step"])
    first = np.concatenate([[0], dataset.lengths.cumsum()])
    for index in everything:
        for place in range(stack):
            age = (stack - 1 - place) * interval
            source = max(index - age, first[batch["episode"][index]])
            np.testing.assert_array_equal(batch["frame"][index, place], frames[source])


def test_any_order_and_repetition(dataset):
    everything = dataset.read(np.arange(len(dataset)))
    assert everything.keys() == set(dataset.columns)
    indices = np.random.default_rng(1).integers(len(dataset), size=200)
    batch = dataset.read(indices)
    for name, values in batch.items():
        np.testing.assert_array_equal(values, everything[name][indices])
        assert values.flags.writeable
    assert everything["seed"].tolist() == (10_000_000 + everything["episode"]).tolist()
    ends = everything["terminated"] | everything["truncated"]
    assert np.flatnonzero(ends).tolist() == (dataset.lengths.cumsum() - 1).tolist()
    assert everything["truncated"].any() and everything["terminated"].any()


def test_few_columns_and_no_rows(dataset):
    batch = dataset.read([3], ["proprio", "seed"])
    assert batch.keys() == {"proprio", "seed"}
    assert batch["proprio"].shape == (1, 6)
    empty = dataset.read(np.array([], np.int64))
    assert empty["frame"].shape == (0, 4, 16, 24)
    with pytest.raises(KeyError, match=r"no 'frames', only .*frame"):
        dataset.read([0], ["frames"])


@pytest.mark.parametrize("bad", [[-1], [10_000], [0.5], [[0]], [True]])
def test_indices_that_are_none(dataset, bad):
    with pytest.raises(IndexError):
        dataset.read(bad)


def test_a_teacher_without_a_value(tmp_path):
    dataset = TeacherDataset.open(
        collect_tiny(tmp_path / "a", 20, teacher=ArithmeticTeacher(with_value=False)), TASK
    )
    assert "value" not in dataset.columns
    assert "value" not in dataset.read([0])


def test_split_is_by_episodes(dataset):
    training, validation = dataset.split(0.3, seed=0)
    assert sorted([*training, *validation]) == list(range(len(dataset)))
    episodes = [set(dataset.read(part, ["episode"])["episode"]) for part in (training, validation)]
    assert not episodes[0] & episodes[1]
    assert len(episodes[1]) == round(0.3 * dataset.n_episodes)
    np.testing.assert_array_equal(dataset.split(0.3, seed=0)[1], validation)
    assert dataset.split(0.3, seed=1)[1].tolist() != validation.tolist()
    assert len(dataset.split(0.0, seed=0)[1]) == 0
    with pytest.raises(UserError, match="is left for training"):
        dataset.split(0.99, seed=0)
    with pytest.raises(UserError, match="not in"):
        dataset.split(1.0, seed=0)


def test_returns(dataset):
    batch = dataset.read(np.arange(len(dataset)), ["reward", "episode"])
    expected = np.bincount(batch["episode"], batch["reward"].astype(np.float64))
    np.testing.assert_allclose(dataset.returns(), expected, rtol=1e-12)


def test_another_task_or_frame_size_is_refused(folder):
    with pytest.raises(UserError, match=r"(?s)frame_size: \[16, 24\], wanted \[16, 32\].*C_data"):
        TeacherDataset.open(folder, replace(TASK, frame_size=(16, 32)))
    with pytest.raises(UserError, match=r"(?s)name: Reacher, wanted Other"):
        TeacherDataset.open(folder, replace(TASK, name="Other"))
    assert isinstance(TASK.camera, Camera)
    camera = replace(TASK.camera, distance=9.0)
    with pytest.raises(UserError, match="camera"):
        TeacherDataset.open(folder, replace(TASK, camera=camera))
    assert TeacherDataset.open(folder).task.frame_size == (16, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(steps=d["steps"] - 1), "counts do not add up"),
        (lambda d: d.update(episodes=3), "counts do not add up"),
        (lambda d: d["shards"].append(d["shards"][-1]), r"lists shard_\d+.safetensors twice"),
        (lambda d: d["shards"].pop(0), "not numbered from 0"),
        (lambda d: d["shards"][1].update(first_episode=0), "the expected episodes"),
        (lambda d: d["shards"][0].update(steps=1), "do not add up to its steps"),
        (lambda d: d["shards"][0].pop("sha256"), "missing or wrong"),
        (lambda d: d["recipe"].pop("task"), "missing or wrong"),
        (lambda d: d["recipe"].update(num_data=0), "missing or wrong"),
        (lambda d: d["step_columns"]["state"].update(dtype="object"), "missing or wrong"),
        (lambda d: d.update(format=2), "format 2, but this version reads 1"),
        (lambda d: d.update(kind="student"), "does not describe a teacher dataset"),
        (lambda d: d.update(shards=7), "missing or wrong"),
        (lambda d: d["recipe"].update(first_seed=10_000_001), "shard_00000.*does not match"),
        (lambda d: d["step_columns"]["state"].update(shape=[9]), "shard_00000.*bytes"),
    ],
)
def test_a_manifest_that_disagrees(copy, change, message):
    edit(copy, change)
    with pytest.raises(UserError, match=message):
        TeacherDataset.open(copy, TASK)


def test_no_manifest_or_a_garbled_one(copy, tmp_path):
    (copy / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json.*not JSON"):
        TeacherDataset.open(copy)
    with pytest.raises(UserError, match=r"is not a dataset.*--C_data"):
        TeacherDataset.open(tmp_path)
    with pytest.raises(UserError, match="is not a dataset"):
        TeacherDataset.open(copy / "manifest.json")


def test_a_surplus_shard(copy):
    shutil.copy(copy / shard_name(0), copy / "shard_00009.safetensors")
    with pytest.raises(UserError, match=r"shard_00009.*not in the manifest"):
        TeacherDataset.open(copy, TASK)
    assert list(verify(copy)) == ["shard_00009.safetensors"]


def test_datasets_by_count_or_path(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(reader, "RESULTS", tmp_path)
    place = tmp_path / "Reacher" / "Dataset" / "5000"
    with pytest.raises(
        UserError, match=rf"{place}.*Distillation/Reacher.py --C_data --num_data 5000"
    ):
        resolve_dataset(TASK, "5k")
    shutil.copytree(folder, place)
    for name in ("5k", "5000", 5000, place, str(place)):
        assert resolve_dataset(TASK, name) == place
    with pytest.raises(UserError, match=r"--num_data N --output .*elsewhere"):
        resolve_dataset(TASK, tmp_path / "elsewhere")


def test_info(folder, tmp_path, capsys):
    dataset_tools.main(["info", str(folder), "--output", str(tmp_path / "sheet.png")])
    printed = capsys.readouterr().out
    dataset = TeacherDataset.open(folder)
    assert f"{len(dataset)} in {dataset.n_episodes} episodes" in printed
    assert f"mean {dataset.returns().mean():.4g}" in printed
    actions = dataset.read(np.arange(len(dataset)), ["action"])["action"].astype(np.float64)
    mean, std = (" ".join(f"{v:.3g}" for v in m(axis=0)) for m in (actions.mean, actions.std))
    assert f"mean [{mean}], std [{std}]" in printed
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None and sheet.shape == (8 * 16, 10 * 24)
    first = dataset.read([0], ["frame"])["frame"][0, -1]
    last = dataset.read([len(dataset) - 1], ["frame"])["frame"][0, -1]
    np.testing.assert_array_equal(sheet[:16, :24], first)
    np.testing.assert_array_equal(sheet[-16:, -24:], last)


def real_teacher(tmp_path):
    """A teacher's bundle of Reacher, and what labels with it."""
    teacher = tiny_teacher(state_dim=10, action_dim=2, bound=1.0, task="Reacher")
    save_teacher(tmp_path / "teacher", dict(teacher.state_dict()), teacher.description, {})
    return tmp_path / "teacher", TeacherLabeller(Teacher.load(tmp_path / "teacher"))


def test_a_teachers_labels(tmp_path):
    """Against the teacher itself."""
    _, labeller = real_teacher(tmp_path)
    teacher = tiny_teacher(state_dim=10, action_dim=2, bound=1.0, task="Reacher")
    states = np.random.default_rng(0).normal(size=(32, 10)).astype(np.float32)
    threads = torch.get_num_threads()
    labels = labeller({"state": states})
    assert torch.get_num_threads() == threads
    dist = teacher.distribution(torch.from_numpy(states))
    np.testing.assert_array_equal(labels["action"], teacher.predict(states)[0])
    for name, values in dist.params().items():
        np.testing.assert_array_equal(labels[f"distribution.{name}"], values.numpy())
    value = teacher.value(torch.from_numpy(states))
    assert value is not None
    np.testing.assert_array_equal(labels["value"], value.numpy())
    assert {v.dtype for v in labels.values()} == {np.dtype(np.float32)}
    assert len(labeller.identity["sha256"]) == 64


def test_a_teacher_of_another_task_collects_nothing(tmp_path):
    labeller = TeacherLabeller(tiny_teacher())
    with pytest.raises(UserError, match="teacher of Pusher"):
        collect_tiny(tmp_path / "a", teacher=labeller)
    assert not (tmp_path / "a").exists()


def test_memory_maps_are_read_only(dataset):
    _, arrays = next(dataset.shards())
    assert not arrays["frame"].flags.writeable
    assert isinstance(arrays["frame"].base, np.ndarray)


def test_more_shards_than_may_be_open(monkeypatch, folder):
    monkeypatch.setattr(reader, "_OPEN_SHARDS", 1)
    dataset = TeacherDataset.open(folder, TASK)
    batch = dataset.read(np.arange(len(dataset))[::-1])
    assert batch["episode"].tolist() == sorted(batch["episode"], reverse=True)
    assert len(Manifest.read(folder).shards) > 1
