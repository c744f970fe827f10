"""Nothing in a file runs: neither by the source's looks, nor when a payload lies in one.

The same of SB3's zips, their tensors and VecNormalize: test_teacher_sb3_zip.py.
"""

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch

from Common.errors import UserError
from Common.places import ROOT
from Enviroment.make import make_state_env
from tests.docs.source_audit import PACKAGES, findings, unbounded_reads
from tests.support.faults.payloads import (
    PROGRESS,
    Payload,
    describe,
    edit_json,
    replace_member,
    torch_file,
)
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.checkpoint import find_newest, restore, save_checkpoint
from Train_Teacher.config import PPOTeacherConfig

AUDITED = (*PACKAGES, "benchmarks")
_BUNDLE = "a bundle: safetensors and JSON"
ALLOWED = {
    ("Models/sb3/trust.py", "import pickle"): "the one place that unpickles ...",
    ("Models/sb3/trust.py", "pickle.loads"): "... after asserting that the user gave the SHA-256",
    ("Models/sb3/vecnormalize.py", "trust.unpickle"): "only where the user gave the SHA-256",
    ("Models/sb3/zip_file.py", "_CLASSES[algo].load"): "only where the user gave the SHA-256",
    ("Models/sb3/inert_pickle.py", "import pickle"): "its unpickler imports and calls nothing",
    ("Models/sb3/inert_pickle.py", "_RecordUnpickler(content, allowed).load"): "that unpickler",
    ("Enviroment/drawing/gl.py", "importlib.import_module"): "of MuJoCo and PyOpenGL",
    ("Algorithm/__init__.py", "import_module"): "of this package's own modules",
    ("Algorithm/method_registry.py", "import_module"): "of the registry's own modules",
    ("Evaluation/export.py", "torch.jit.load"): "of bytes that this process has just made",
    ("Train_Teacher/checkpoint.py", "load_from_zip_file"): "without its data: weights_only tensors",
    **{
        (file, "Teacher.load"): _BUNDLE
        for file in (
            *(
                "Distillation/starting/teaching.py",
                "Enviroment/dataset/__main__.py",
                "Evaluation/blind.py",
            ),
            *("Evaluation/evaluate/__main__.py", "Models/teacher/__main__.py", "benchmarks/ppd.py"),
        )
    },
}


# -- the source ----------------------------------------------------------------------------------


def test_no_source_could_run_a_file_but_where_it_says_why():
    found = {
        (path.relative_to(ROOT).as_posix(), finding)
        for package in AUDITED
        for path in (ROOT / package).rglob("*.py")
        for finding in findings(path.read_text(encoding="utf-8"))
    }
    # A class method that reads a bundle may be called from anywhere.
    surprising = {entry for entry in found - ALLOWED.keys() if entry[1] != "Teacher.load"}
    assert not surprising
    assert {entry for entry, why in ALLOWED.items() if why != _BUNDLE} <= found


READS = {
    ("Common/files/bounded_read.py", "json.loads"): "the one reader",
    ("Enviroment/simulation/processes.py", "read_text"): "of /proc",
    ("Models/networks/fast_linear.py", "read_text"): "of /proc",
    ("Evaluation/report/page.py", "read_text"): "of this package's own files",
    ("Evaluation/export.py", "json.loads"): "of what this process has just written",
    ("Algorithm/distributed.py", "json.loads"): "of what other ranks have sent",
    ("Common/runs/checkpoint.py", "json.loads"): "of what is about to be written",
    ("Enviroment/simulation/state.py", "json.loads"): "of a part of a checkpoint, of known size",
}


def test_no_source_reads_a_file_without_a_limit_but_where_it_says_why():
    found = {
        (path.relative_to(ROOT).as_posix(), read.removeprefix(read.rpartition(".read_")[0] + "."))
        for package in AUDITED
        if package != "benchmarks"
        for path in (ROOT / package).rglob("*.py")
        for read in unbounded_reads(path.read_text(encoding="utf-8"))
    }
    assert found == READS.keys()


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


# -- the checkpoints of a teacher's training -----------------------------------------------------
#
# A payload in each kind of file: tests/faults/test_payloads.py.

SETTINGS = PPOTeacherConfig(num_envs=1, n_steps=50, batch_size=50, n_epochs=1)


@pytest.fixture
def payload(tmp_path):
    """What must not run; the test fails if it did."""
    yield Payload(tmp_path / "ran")
    assert not (tmp_path / "ran").exists()


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


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("member", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_payload_in_a_teachers_weights(member, form, training, payload):
    agent, checkpoint = training
    content = (
        pickle.dumps(payload) if form == "pickle" else torch_file(payload, zipped=form == "zip")
    )
    replace_member(checkpoint / "model.zip", member, content)
    describe(checkpoint / "model.zip", "state.json")
    assert find_newest(checkpoint.parent) is not None
    with pytest.raises(UserError, match=r"model\.zip is refused") as error:
        restore(checkpoint, agent, PROGRESS)
    assert "weights_only" not in str(error.value)  # torch's advice to trust the file


def test_a_payload_in_a_teachers_settings_is_never_read(training, payload):
    agent, checkpoint = training
    blob = {":type:": "<class 'function'>", ":serialized:": pickle.dumps(payload).hex()}
    data = json.dumps({"policy_class": blob, "lr_schedule": blob}).encode()
    replace_member(checkpoint / "model.zip", "data", data)
    describe(checkpoint / "model.zip", "state.json")
    restore(checkpoint, agent, PROGRESS)


def test_packed_arrays_are_refused_unread(training):
    """A thousandth of its bytes would do to fill the memory."""
    agent, checkpoint = training
    np.savez_compressed(checkpoint / "normaliser.npz", mean=np.zeros(2**20))
    describe(checkpoint / "normaliser.npz", "state.json")
    with pytest.raises(UserError, match="its members are packed"):
        restore(checkpoint, agent, PROGRESS)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\0b", "x" * 300])
def test_files_that_no_checkpoint_has_are_refused(name, training, capsys):
    _, checkpoint = training
    files = json.loads((checkpoint / "state.json").read_text())["files"]
    described = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    edit_json(checkpoint / "state.json", files={**files, name: described})
    with pytest.raises(UserError, match=r"No checkpoint in .* can be used"):
        find_newest(checkpoint.parent)
    assert "is damaged" in capsys.readouterr().err


def test_a_file_that_the_manifest_does_not_vouch_for_is_refused(training, capsys):
    _, checkpoint = training
    (checkpoint / "replay.npz").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"No checkpoint in .* can be used"):
        find_newest(checkpoint.parent)
    assert "lists other files" in capsys.readouterr().err


def test_a_checkpoint_of_an_older_format_is_named(training, capsys):
    _, checkpoint = training
    edit_json(checkpoint / "state.json", format=1)
    with pytest.raises(UserError, match=r"No checkpoint in .* can be used"):
        find_newest(checkpoint.parent)
    assert "has format 1, and this version reads 2" in capsys.readouterr().err
