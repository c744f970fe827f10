"""The programs in examples/: short, and each runs with small numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Common.places import ROOT

EXAMPLES = {  # small arguments, and what the program prints
    "own_sb3_agent.py": (["128", "1200"], "my_reacher"),
    "clone_arrays.py": (["3"], "mean error"),
    "deploy_onnx.py": (["3"], "return -"),
}


def test_every_example_is_known_here_and_short() -> None:
    programs = sorted((ROOT / "examples").glob("*.py"))
    assert [path.name for path in programs] == sorted(EXAMPLES)
    lines = {path.name: len(path.read_text().splitlines()) for path in programs}
    assert {name: n for name, n in lines.items() if n > 40} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path) -> None:
    if "onnx" in name:
        pytest.importorskip("onnxruntime")
    arguments, printed = EXAMPLES[name]
    (tmp_path / "Results").symlink_to(ROOT / "Results")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
