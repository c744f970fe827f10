"""Collection: the same bits whatever ran beside, before or after."""

import os
import resource
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from Common.errors import UserError
from Common.files.locks import LOCK_FILE, locked
from Enviroment import seeds
from Enviroment.dataset import collect as collection
from Enviroment.dataset.collect import repair
from Enviroment.dataset.format import Manifest, shard_name
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.recording import LABEL_ROWS, ask
from Enviroment.dataset.verify import verify
from Enviroment.make import make_env
from tests.support.tiny_dataset import (
    LONGEST,
    TASK,
    ArithmeticTeacher,
    collect_tiny,
    content,
    length_of,
)

FIRST = seeds.DATASET.start


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Five episodes a shard."""
    monkeypatch.setattr(collection, "_SHARD_BYTES", 5 * LONGEST * 16 * 24)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A dataset of several shards, and its bytes."""
    patch = pytest.MonkeyPatch()
    patch.setattr(collection, "_SHARD_BYTES", 5 * LONGEST * 16 * 24)
    folder = collect_tiny(tmp_path_factory.mktemp("whole") / "dataset")
    patch.undo()
    return folder, content(folder)


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "copy")


def test_episodes_are_whole_and_no_more_than_needed(whole):
    dataset = TeacherDataset.open(whole[0], TASK)
    expected = [length_of(FIRST + episode) for episode in range(dataset.n_episodes)]
    assert dataset.lengths.tolist() == expected
    assert sum(expected[:-1]) < 130 <= sum(expected) == len(dataset)
    assert len(dataset.manifest.shards) > 2


def test_what_is_recorded_is_what_the_environment_showed(whole):
    """Against the environments played one by one, with the teacher asked about one state."""
    dataset = TeacherDataset.open(whole[0], TASK)
    teacher = ArithmeticTeacher()
    env = make_env(TASK, 1, FIRST, workers="serial")
    obs = env.reset()
    for index in range(len(dataset)):
        recorded = {name: values[0] for name, values in dataset.read([index]).items()}
        labels = teacher(obs)
        np.testing.assert_array_equal(recorded["frame"], obs["frame"][0])
        np.testing.assert_array_equal(recorded["state"], obs["state"][0])
        np.testing.assert_array_equal(recorded["proprio"], obs["proprio"][0])
        np.testing.assert_allclose(recorded["action"], labels["action"][0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(recorded["value"], labels["value"][0], rtol=1e-5, atol=1e-5)
        obs, rewards, dones, infos = env.step(recorded["action"][None])
        assert recorded["reward"] == rewards[0]
        assert recorded["terminated"] | recorded["truncated"] == dones[0]
        if dones[0]:
            assert recorded["truncated"] == infos[0]["TimeLimit.truncated"]
    env.close()


def test_the_end_of_an_episode_is_kept(whole):
    dataset = TeacherDataset.open(whole[0], TASK)
    _, arrays = next(dataset.shards())
    env = make_env(replace(TASK, stack=1), 1, FIRST, workers="serial")
    env.reset()
    actions = dataset.read(np.arange(dataset.lengths[0]))["action"]
    for action in actions:
        _, _, dones, infos = env.step(action[None])
    assert dones[0]
    final = infos[0]["terminal_observation"]
    np.testing.assert_array_equal(arrays["final_frame"][0], final["frame"])
    np.testing.assert_array_equal(arrays["final_state"][0], final["state"])
    env.close()


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_neither_environments_nor_workers_change_a_bit(tmp_path, noise):
    folders = [
        collect_tiny(tmp_path / "1", 70, n_envs=1, workers="serial", behaviour_noise=noise),
        collect_tiny(tmp_path / "3", 70, n_envs=3, workers="thread", behaviour_noise=noise),
        collect_tiny(tmp_path / "5", 70, n_envs=5, workers="thread", behaviour_noise=noise),
    ]
    first, *others = map(content, folders)
    for other in others:
        assert other == first


def test_a_stopped_collection_goes_on_to_the_same_bits(whole, tmp_path):
    teacher = ArithmeticTeacher()
    for calls in (1, 20, 45):
        teacher.calls, teacher.fail_after = 0, calls
        with pytest.raises(KeyboardInterrupt):
            collect_tiny(tmp_path / "a", teacher=teacher, resume=calls > 1)
        done = Manifest.read(tmp_path / "a")
        assert not done.complete
        assert not verify(tmp_path / "a")  # nothing but complete shards
        with pytest.raises(UserError, match=r"collection was stopped.*`resume`"):
            TeacherDataset.open(tmp_path / "a", TASK)
    assert len(done.shards) >= 1
    (tmp_path / "a" / f".{shard_name(1)}.partial").write_bytes(b"left by a killed process")
    collect_tiny(tmp_path / "a", resume=True)
    assert content(tmp_path / "a") == whole[1]


def test_a_shard_that_the_manifest_does_not_list_yet_is_collected_again(whole, tmp_path):
    """Killed between the shard's rename and the manifest's."""
    teacher = ArithmeticTeacher()
    teacher.fail_after = 45
    with pytest.raises(KeyboardInterrupt):
        collect_tiny(tmp_path / "a", teacher=teacher)
    index = len(Manifest.read(tmp_path / "a").shards)
    (tmp_path / "a" / shard_name(index)).write_bytes(b"unlisted")
    collect_tiny(tmp_path / "a", resume=True)
    assert content(tmp_path / "a") == whole[1]


@pytest.mark.parametrize("resume", [True, False])
def test_what_a_kill_leaves_of_a_dataset_that_had_not_begun_is_in_nobodys_way(
    whole, tmp_path, resume
):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / LOCK_FILE).write_text("process 1 on another")
    (folder / ".manifest.json.partial").write_text('{"format"')
    collect_tiny(folder, resume=resume)
    assert content(folder) == whole[1]


def test_what_a_kill_leaves_of_a_shard_is_removed(whole, copy):
    (copy / LOCK_FILE).write_text("process 1 on another")
    (copy / ".shard_00001.safetensors.partial").write_bytes(b"half")
    assert verify(copy) == {}
    collect_tiny(copy, resume=True)
    assert content(copy) == whole[1]


def test_resuming_what_is_complete_changes_nothing(whole, copy):
    collect_tiny(copy, resume=True)
    assert content(copy) == whole[1]


def test_noise_moves_what_is_done_but_not_the_labels(tmp_path):
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "a", 70, behaviour_noise=0.3), TASK)
    batch = dataset.read(np.arange(len(dataset)))
    added = batch["behaviour_action"] - batch["action"]
    inside = np.abs(batch["behaviour_action"]) < 1
    assert 0.2 < added[inside].std() < 0.4  # half the range of [-1, 1] is 1
    np.testing.assert_allclose(
        batch["action"], np.clip(batch["distribution.mean"], -1, 1), rtol=0, atol=0
    )
    # Episode 0's noise is that of a generator of its seed and nothing else.
    draws = np.random.default_rng([FIRST, 1]).standard_normal((LONGEST, 2), np.float32)
    n = dataset.lengths[0]
    expected = np.clip(batch["action"][:n] + 0.3 * draws[:n], -1, 1)
    np.testing.assert_allclose(batch["behaviour_action"][:n], expected, rtol=0, atol=1e-6)


def test_labels_do_not_depend_on_what_else_is_asked():
    states = np.random.default_rng(0).normal(size=(70, 10)).astype(np.float32)
    episodes = np.arange(70) * 3
    teacher = ArithmeticTeacher()
    together = ask(teacher, {"state": states}, episodes)
    assert teacher.calls == 3  # 70 episodes on 32 rows
    for i in (0, 31, 69):
        alone = ask(teacher, {"state": states[[i]]}, episodes[[i]])
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][i])
    assert LABEL_ROWS == 32  # another would change every dataset


def test_shards_are_safetensors(whole):
    dataset = TeacherDataset.open(whole[0], TASK)
    loaded = safetensors.numpy.load_file(whole[0] / shard_name(1))
    mapped = dict(dataset.shards())[1]
    assert loaded.keys() == mapped.keys()
    for name, values in mapped.items():
        np.testing.assert_array_equal(values, loaded[name])
        assert values.flags.aligned


@pytest.mark.parametrize("damage", ["delete", "truncate", "edit", "double"])
def test_a_damaged_shard_is_named_and_repaired(whole, copy, damage):
    path = copy / shard_name(1)
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 1000)
    elif damage == "double":
        shutil.copy(copy / shard_name(0), path)
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    problems = verify(copy)
    assert list(problems) == [shard_name(1)]
    assert str(path) in problems[shard_name(1)]
    if damage == "edit":
        TeacherDataset.open(copy, TASK)  # its size and header are right
    else:
        with pytest.raises(UserError, match=rf"{shard_name(1)}.*dataset repair"):
            TeacherDataset.open(copy, TASK)
        with pytest.raises(UserError, match=rf"{shard_name(1)}.*dataset repair"):
            collect_tiny(copy, resume=True)
    task = Manifest.read(copy).recipe.task
    assert task["env_id"] == "ShortReacher-v0"
    repair(copy, ArithmeticTeacher(), [1])
    assert content(copy) == whole[1]


def test_flipped_bits_and_truncations_of_a_shard_are_named(copy):
    path = copy / shard_name(1)
    original = path.read_bytes()
    damaged = [original[:size] for size in range(0, len(original), 499)]
    for position in range(0, len(original), 41):
        flipped = bytearray(original)
        flipped[position] ^= 1 << position % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        assert list(verify(copy)) == [shard_name(1)]


def test_a_pipe_in_the_place_of_a_shard_is_named_unread(copy):
    path = copy / shard_name(1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is not a regular file"):
        TeacherDataset.open(copy, TASK)


def test_repair_by_another_teacher_is_refused(whole, copy):
    (copy / shard_name(0)).unlink()
    with pytest.raises(UserError, match="another teacher"):
        repair(copy, ArithmeticTeacher(gain=2.0), [0])
    # The same name for other weights: noticed by the hash, and nothing is replaced.
    liar = ArithmeticTeacher(gain=2.0)
    liar.identity = ArithmeticTeacher().identity
    with pytest.raises(UserError, match=r"(?s)shard_00000.*SHA-256 differs"):
        repair(copy, liar, [0])
    assert sorted(path.name for path in copy.iterdir()) == sorted(whole[1].keys() - {shard_name(0)})


def test_a_full_disk_loses_nothing(whole, tmp_path):
    """By a real limit on the size of files, which shards exceed and the manifest does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
    try:
        with pytest.raises(UserError, match=r"shard_00000.*cannot be written.*`resume`"):
            collect_tiny(tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["manifest.json"]
    collect_tiny(tmp_path / "a", resume=True)
    assert content(tmp_path / "a") == whole[1]


def test_too_little_room_is_noticed_first(monkeypatch, tmp_path):
    usage = collection.shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(collection.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"needs 0 MB more|needs \d+ MB more"):
        collect_tiny(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_folders_are_not_mixed(copy, tmp_path):
    with pytest.raises(UserError, match=r"holds a dataset already.*`resume`"):
        collect_tiny(copy)
    with pytest.raises(UserError, match=r"(?s)begun with other settings.*num_data: 130, now 131"):
        collect_tiny(copy, 131, resume=True)
    with pytest.raises(UserError, match=r"(?s)begun with other settings.*teacher"):
        collect_tiny(copy, teacher=ArithmeticTeacher(gain=2.0), resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="holds no dataset"):
        collect_tiny(tmp_path / "other", resume=True)
    with pytest.raises(UserError, match="is a file"):
        collect_tiny(tmp_path / "other" / "thesis.tex")


def test_two_processes_do_not_share_a_folder(copy):
    with locked(copy), pytest.raises(UserError, match=f"written by process {os.getpid()} on"):
        collect_tiny(copy, resume=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_data": 0}, "`num_data` 0"),
        ({"behaviour_noise": -0.1}, "`behaviour_noise` -0.1"),
        ({"behaviour_noise": float("nan")}, "`behaviour_noise` nan"),
        ({"first_seed": 5}, "exceed the seeds of datasets"),
        ({"first_seed": seeds.DATASET.stop - 1}, "exceed the seeds of datasets"),
        ({"n_envs": 0}, "`n_envs` 0"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        collect_tiny(tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()
