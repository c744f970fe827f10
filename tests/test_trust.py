"""Nothing in a file runs: neither by the source's looks, nor when a payload lies in one.

The same of SB3's zips, their tensors and VecNormalize: test_teacher_sb3_zip.py.
"""

import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from Distillation.flags import parse
from Enviroment.dataset import TeacherDataset
from Enviroment.errors import UserError
from Enviroment.make import make_state_env
from Enviroment.tasks import get_task
from Models.bundle import read_bundle, write_bundle
from Models.checkpoint import CheckpointStore
from tests.source_audit import findings
from tests.tiny_dataset import collect_tiny
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.checkpoint import Progress, find_newest, restore, save_checkpoint
from Train_Teacher.config import PPOTeacherConfig

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("Algorithm", "Distillation", "Enviroment", "Evaluation", "Models", "Train_Teacher"),
    "benchmarks",
)
_BUNDLE = "a bundle: safetensors and JSON"
ALLOWED = {
    ("Models/trust.py", "import pickle"): "the one place that unpickles ...",
    ("Models/trust.py", "pickle.loads"): "... after asserting that the user gave the SHA-256",
    ("Models/vecnormalize.py", "trust.unpickle"): "only where the user gave the SHA-256",
    ("Models/sb3_zip.py", "_CLASSES[algo].load"): "only where the user gave the SHA-256",
    ("Models/inert_pickle.py", "import pickle"): "its unpickler imports and calls nothing",
    ("Models/inert_pickle.py", "_RecordUnpickler(content, allowed).load"): "that unpickler",
    ("Train_Teacher/checkpoint.py", "load_from_zip_file"): "without its data: weights_only tensors",
    **{
        (file, "Teacher.load"): _BUNDLE
        for file in (
            *("Distillation/teaching.py", "Enviroment/dataset_tools.py", "Evaluation/blind.py"),
            *("Evaluation/evaluate_tool.py", "Models/teacher_cli.py", "benchmarks/ppd.py"),
        )
    },
}


# -- the source ----------------------------------------------------------------------------------


def test_no_source_could_run_a_file_but_where_it_says_why():
    found = {
        (path.relative_to(ROOT).as_posix(), finding)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for finding in findings(path.read_text(encoding="utf-8"))
    }
    # A class method that reads a bundle may be called from anywhere.
    surprising = {entry for entry in found - ALLOWED.keys() if entry[1] != "Teacher.load"}
    assert not surprising
    assert {entry for entry, why in ALLOWED.items() if why != _BUNDLE} <= found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib as j",
        "import dill.session",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=flag)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.savez(f, allow_pickle=flag)",
        "yaml.load(f, Loader=yaml.Loader)",
        "yaml.full_load(f)",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "importlib.import_module(name)",
        "PPO.load(f)",
        "env.load_from_pkl(f)",
        "load(f)",
        "def f():\n    class A:\n        x = lambda: eval('1')",
    ],
)
def test_the_audit_finds(source):
    assert list(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "from pickle import UnpicklingError",
        "torch.load(f, 'cpu', weights_only=True)",
        "np.load(f, allow_pickle=False)",
        "yaml.safe_load(f)",
        "json.loads(f)",
        "safetensors.torch.load(f)",
        "importlib.import_module('mujoco')",
        "policy.eval()",
    ],
)
def test_the_audit_lets_pass(source):
    assert not list(findings(source))


# -- payloads ------------------------------------------------------------------------------------


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def payload(tmp_path):
    """What must not run; the test fails if it did."""
    yield Payload(tmp_path / "ran")
    assert not (tmp_path / "ran").exists()


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def described(content):
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_payload_in_a_checkpoint_of_a_matching_manifest(name, payload, tmp_path, capsys):
    store = CheckpointStore(tmp_path / "checkpoints")
    path = store.save(1, {"model": {"w": torch.zeros(2)}}, {"a": 1})
    content = pickle.dumps(payload)
    files = json.loads((path / "manifest.json").read_text())["files"]
    (path / name).write_bytes(content)
    edit_json(path / "manifest.json", files={**files, name: described(content)})
    if name == "state.json":
        assert store.newest() is None
        assert "is damaged" in capsys.readouterr().err
    else:
        checkpoint = store.newest()
        assert checkpoint is not None
        with pytest.raises(UserError, match=r"damaged: model\.safetensors"):
            checkpoint.tensors("model")


@pytest.mark.parametrize("kind", ["teacher", "student"])
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_payload_in_a_bundle_of_a_matching_hash(kind, suffix, payload, tmp_path):
    folder = write_bundle(tmp_path / "bundle", kind, {"w": torch.zeros(2)}, {})
    content = pickle.dumps(payload)
    (folder / f"{kind}.{suffix}").write_bytes(content)
    if suffix == "safetensors":
        edit_json(folder / f"{kind}.json", sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(UserError, match=rf"{kind}\.{suffix}"):
        read_bundle(folder, kind)


@pytest.mark.parametrize("name", ["manifest.json", "shard_00000.safetensors"])
def test_a_payload_in_a_dataset(name, payload, tmp_path):
    folder = collect_tiny(tmp_path / "data", 20)
    size = (folder / name).stat().st_size
    (folder / name).write_bytes(pickle.dumps(payload).ljust(size, b"\0"))
    with pytest.raises(UserError, match=name):
        TeacherDataset.open(folder)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{}]", "!!python/name:os.mkdir"])
def test_a_payload_in_a_configuration(tag, payload, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("lambda: " + tag.format(payload.path) + "\n")
    with pytest.raises(UserError, match=r"config\.yaml"):
        parse(get_task("Pusher"), ["--PPD", "--config", str(path)])


# -- the checkpoints of a teacher's training -----------------------------------------------------

SETTINGS = PPOTeacherConfig(num_envs=1, n_steps=50, batch_size=50, n_epochs=1)
PROGRESS = Progress(steps=1, updates=1, episodes=1, best_return=None, evaluation={})


@pytest.fixture
def training(tmp_path):
    """An agent and its checkpoint."""
    env = normalise(make_state_env("Pusher", 1, 0), SETTINGS)
    agent = make_agent(SETTINGS, env, torch.device("cpu"), 1)
    yield (
        agent,
        save_checkpoint(tmp_path / "checkpoints", "step_1", agent, PROGRESS, resumable=True),
    )
    env.close()


def replace_file(checkpoint, name, content):
    """As someone would who can write the manifest, too."""
    (checkpoint / name).write_bytes(content)
    files = json.loads((checkpoint / "state.json").read_text())["files"]
    edit_json(checkpoint / "state.json", files={**files, name: described(content)})
    assert find_newest(checkpoint.parent) is not None


def replace_member(path, name, content):
    """The zip's bytes with another member."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    assert name in members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == name else old)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("member", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_payload_in_a_teachers_weights(member, form, training, payload):
    agent, checkpoint = training
    buffer = io.BytesIO()
    if form == "pickle":
        buffer.write(pickle.dumps(payload))
    else:
        torch.save({"a": payload}, buffer, _use_new_zipfile_serialization=form == "zip")
    changed = replace_member(checkpoint / "model.zip", member, buffer.getvalue())
    replace_file(checkpoint, "model.zip", changed)
    with pytest.raises(UserError, match=r"model\.zip is refused") as error:
        restore(checkpoint, agent, PROGRESS)
    assert "weights_only" not in str(error.value)  # torch's advice to trust the file


def test_a_payload_in_a_teachers_settings_is_never_read(training, payload):
    agent, checkpoint = training
    blob = {":type:": "<class 'function'>", ":serialized:": pickle.dumps(payload).hex()}
    data = json.dumps({"policy_class": blob, "lr_schedule": blob}).encode()
    replace_file(checkpoint, "model.zip", replace_member(checkpoint / "model.zip", "data", data))
    restore(checkpoint, agent, PROGRESS)


@pytest.mark.parametrize("name", ["normaliser.npz", "generators.npz"])
def test_a_payload_in_a_teachers_arrays(name, training, payload):
    agent, checkpoint = training
    with np.load(checkpoint / name, allow_pickle=False) as archive:
        arrays = {key: np.array([payload], dtype=object) for key in archive}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    replace_file(checkpoint, name, buffer.getvalue())
    with pytest.raises(UserError, match="is refused"):
        restore(checkpoint, agent, PROGRESS)


def test_packed_arrays_are_refused_unread(training):
    """A thousandth of its bytes would do to fill the memory."""
    agent, checkpoint = training
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mean=np.zeros(2**20))
    replace_file(checkpoint, "normaliser.npz", buffer.getvalue())
    with pytest.raises(UserError, match="its members are packed"):
        restore(checkpoint, agent, PROGRESS)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\0b", "x" * 300])
def test_files_that_no_checkpoint_has_are_refused(name, training, capsys):
    _, checkpoint = training
    files = json.loads((checkpoint / "state.json").read_text())["files"]
    edit_json(checkpoint / "state.json", files={**files, name: described(b"")})
    assert find_newest(checkpoint.parent) is None
    assert "is damaged" in capsys.readouterr().err


def test_a_file_that_the_manifest_does_not_vouch_for_is_refused(training, capsys):
    _, checkpoint = training
    (checkpoint / "replay.npz").write_bytes(b"anything")
    assert find_newest(checkpoint.parent) is None
    assert "lists other files" in capsys.readouterr().err
