"""Nothing in a file runs, by the source's looks.

A payload in each kind of file: tests/faults/test_payloads.py.
"""

import pytest

from Common.places import ROOT
from tests.docs.source_audit import PACKAGES, findings, unbounded_reads

AUDITED = (*PACKAGES, "benchmarks", "examples")
_BUNDLE = "a bundle: safetensors and JSON"
ALLOWED = {
    ("Models/sb3/trust.py", "import pickle"): "the one place that unpickles ...",
    ("Models/sb3/trust.py", "pickle.loads"): "... after asserting that the user gave the SHA-256",
    ("Models/sb3/vecnormalize.py", "trust.unpickle"): "only where the user gave the SHA-256",
    ("Models/sb3/zip_file.py", "_CLASSES[algo].load"): "only where the user gave the SHA-256",
    ("Models/sb3/inert_pickle.py", "import pickle"): "its unpickler imports and calls nothing",
    ("Models/sb3/inert_pickle.py", "_RecordUnpickler(content, allowed).load"): "that unpickler",
    ("Enviroment/drawing/gl.py", "importlib.import_module"): "of MuJoCo and PyOpenGL",
    ("Common/lazy.py", "import_module"): "of this toolkit's own modules",
    ("Enviroment/simulation/making.py", "importlib.import_module"): "of wrappers that a user names",
    ("Models/networks/own.py", "importlib.import_module"): "of encoders that a user names",
    # Inherited from SB3: a model's file may hold code, and no command opens one.
    ("Algorithm/on_policy/state.py", "super().load"): "SB3's load, which only users call",
    (
        "Evaluation/export/student_file.py",
        "torch.jit.load",
    ): "of bytes that this process has just made",
    **{
        (file, "Teacher.load"): _BUNDLE
        for file in (
            *(
                "Distillation/starting/teaching.py",
                "Enviroment/dataset/__main__.py",
                "Evaluation/blind/measure.py",
            ),
            *("Evaluation/evaluate/measure.py", "Models/teacher/__main__.py", "benchmarks/ppd.py"),
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
    # Class methods that read bundles may be called from anywhere.
    bundles = ("Teacher.load", "Student.load")
    surprising = {entry for entry in found - ALLOWED.keys() if entry[1] not in bundles}
    assert not surprising
    assert {entry for entry, why in ALLOWED.items() if why != _BUNDLE} <= found


READS = {
    ("Common/files/bounded_read.py", "json.loads"): "the one reader",
    ("Enviroment/simulation/processes.py", "read_text"): "of /proc",
    ("Models/networks/fast_linear.py", "read_text"): "of /proc",
    ("Common/device.py", "read_text"): "of /proc",
    ("Common/cores.py", "read_text"): "of /proc and /sys",
    ("Enviroment/worlds/memory.py", "read_text"): "of /proc",
    ("Evaluation/report/page.py", "read_text"): "of this package's own files",
    ("Evaluation/export/student_file.py", "json.loads"): "of what this process has just written",
    ("Algorithm/distributed.py", "json.loads"): "of what other ranks have sent",
    ("Common/runs/checkpoint.py", "json.loads"): "of what is about to be written",
    ("Enviroment/env_settings.py", "json.loads"): "of a word of the command line",
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
