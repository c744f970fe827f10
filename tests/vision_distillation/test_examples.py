"""The programs in examples/: short, and each runs with small numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Common.places import ROOT

# A short call of `main`, and what the program prints.
_SHORT = (
    "num_envs=2, num_steps=4, batch_size=4, eval_episodes=1, final_episodes=1, threads=1, "
    "frame_size='16x16', video=False, wandb='disabled'"
)
EXAMPLES = {
    "own_sb3_agent": (f"main(1, 16, {_SHORT})", "my_reacher"),
    "own_encoder": (f"main(16, {_SHORT})", "own_encoder:PatchEncoder"),
    "clone_arrays": ("main(3)", "mean error"),
    "deploy_onnx": ("main(3)", "return -"),
}


def test_every_example_is_known_here_and_short() -> None:
    programs = sorted((ROOT / "examples").glob("*.py"))
    assert [path.stem for path in programs] == sorted(EXAMPLES)
    lines = {path.name: len(path.read_text().splitlines()) for path in programs}
    assert {name: n for name, n in lines.items() if n > 40} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path) -> None:
    if "onnx" in name:
        pytest.importorskip("onnxruntime")
    call, printed = EXAMPLES[name]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "examples")))
    (tmp_path / "Results").symlink_to(ROOT / "Results")
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}\n{name}.{call}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
