"""Bundles: what is written is read back, and nothing else is."""

import hashlib
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Models.bundle import read_bundle, write_bundle
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.bundle import record_baseline, save_teacher
from Models.teacher.policy import Teacher
from tests.support.bundle_edits import change_description
from tests.support.tiny_teacher import tiny_teacher

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3).t(),
    "a": torch.tensor([1 / 3], dtype=torch.float64),
}


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", "teacher", TENSORS, {"task": "Pusher"})


def edit(path, **changes):
    change_description(path, lambda description: description.update(changes))


def test_round_trip_is_exact(bundle):
    tensors, description = read_bundle(bundle, "teacher")
    assert description["task"] == "Pusher"
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])


def test_description_holds_the_sha256_of_the_weights(bundle):
    weights = (bundle / "teacher.safetensors").read_bytes()
    description = json.loads((bundle / "teacher.json").read_text())
    assert description["sha256"] == hashlib.sha256(weights).hexdigest()


def test_equal_tensors_in_another_order_give_the_same_bytes(bundle, tmp_path):
    reordered = dict(reversed(list(TENSORS.items())))
    other = write_bundle(tmp_path / "other", "teacher", reordered, {})
    name = "teacher.safetensors"
    assert (other / name).read_bytes() == (bundle / name).read_bytes()


def test_only_the_two_files_are_left(bundle):
    assert sorted(path.name for path in bundle.iterdir()) == ["teacher.json", "teacher.safetensors"]


def test_an_older_bundle_is_replaced(bundle):
    write_bundle(bundle, "teacher", {"a": torch.zeros(1)}, {"task": "Reacher"})
    tensors, description = read_bundle(bundle, "teacher")
    assert description["task"] == "Reacher"
    assert tensors.keys() == {"a"}


def test_nan_in_the_description_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_bundle(tmp_path / "bundle", "teacher", TENSORS, {"return": float("nan")})
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("name", ["teacher.json", "teacher.safetensors"])
def test_a_missing_file_is_named_with_the_command_that_makes_one(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(UserError, match=r"python Train_Teacher/Pusher\.py") as error:
        read_bundle(bundle, "teacher")
    assert str(bundle / name) in str(error.value)


def test_a_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="There is no student"):
        read_bundle(tmp_path / "nowhere", "student")


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    agent = tmp_path / "agent.zip"
    agent.write_bytes(b"PK")
    with pytest.raises(UserError, match=r"agent\.zip is a file, but a teacher is a folder with .*"):
        read_bundle(agent, "teacher")


def test_one_flipped_bit_in_the_weights_is_refused(bundle):
    path = bundle / "teacher.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        read_bundle(bundle, "teacher")


def test_truncated_weights_are_refused(bundle):
    path = bundle / "teacher.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="SHA-256"):
        read_bundle(bundle, "teacher")


def test_a_pickle_with_a_matching_hash_is_no_safetensors_file(bundle):
    content = b"\x80\x04cos\nsystem\n(S'false'\ntR."
    (bundle / "teacher.safetensors").write_bytes(content)
    edit(bundle / "teacher.json", sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(UserError, match="not a safetensors file"):
        read_bundle(bundle, "teacher")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"kind": "teacher"}', "[" * 100_000])
def test_a_garbled_description_is_refused(bundle, text):
    (bundle / "teacher.json").write_text(text)
    with pytest.raises(UserError, match=r"teacher\.json"):
        read_bundle(bundle, "teacher")


def test_a_description_that_is_no_text_is_refused(bundle):
    (bundle / "teacher.json").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(UserError, match="damaged"):
        read_bundle(bundle, "teacher")


@pytest.mark.parametrize(("key", "value"), [("kind", "student"), ("format", 99)])
def test_another_kind_or_format_is_refused(bundle, key, value):
    edit(bundle / "teacher.json", **{key: value})
    with pytest.raises(UserError, match=str(value)):
        read_bundle(bundle, "teacher")


def test_a_run_folder_stands_for_the_bundle_in_it(bundle, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    bundle.rename(run / "teacher")
    tensors, description = read_bundle(str(run), "teacher")
    assert description["task"] == "Pusher" and tensors.keys() == TENSORS.keys()
    with pytest.raises(UserError, match=r"no student at .*run/student\.json"):
        read_bundle(run, "student")


def test_text_is_a_path_too(tmp_path):
    teacher = tiny_teacher()
    folder = str(tmp_path / "run" / "teacher")
    save_teacher(folder, teacher.state_dict(), teacher.description, {})
    record_baseline(str(tmp_path / "run"), "blind", {"evaluation": [1.0]})
    loaded = Teacher.load(str(tmp_path / "run"))
    assert loaded.description.baselines["blind"] == {"evaluation": [1.0]}
    assert not list((tmp_path / "run").glob("*.json"))  # written where the bundle is
    space = spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (3,), np.float32)})
    actions = spaces.Box(-1, 1, (2,), np.float32)
    policy = StudentPolicy(space, actions, lambda _: 0.0, config=StudentConfig(mode="State"))
    save_student(policy, str(tmp_path / "run" / "student"), {})
    for given in (tmp_path / "run", str(tmp_path / "run"), str(tmp_path / "run" / "student")):
        student = load_student(given)
        for name, tensor in policy.state_dict().items():
            assert torch.equal(student.state_dict()[name], tensor)
