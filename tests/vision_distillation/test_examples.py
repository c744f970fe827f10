"""The programs in examples/: short, and each runs with small numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Common.places import ROOT

_SHORT = (
    "num_envs=2, num_steps=4, batch_size=4, eval_episodes=1, final_episodes=1, threads=1, "
    "frame_size='16x16', video=False, wandb='disabled'"
)
_GRID = (  # of values that both methods take
    "'seeds=0', 'total_timesteps=16', 'num_envs=2', 'num_steps=4', 'eval_episodes=1', "
    "'final_episodes=1', 'frame_size=16x16', 'video=false', 'wandb=disabled'"
)
# A short call of `main`, and what the program prints.
EXAMPLES = {
    "own_arm": (f"main(1, total_timesteps=16, {_SHORT})", "my_arm"),
    "own_sb3_agent": (f"main(1, 16, {_SHORT})", "my_reacher"),
    "own_encoder": (f"main(16, {_SHORT})", "own_encoder:PatchEncoder"),
    "clone_arrays": ("main(3)", "mean error"),
    "deploy_onnx": ("main(3)", "return -"),
    "grid": (f"main({_GRID})", "| PPD |"),
    "gpu_run": (f"main('cpu', 1, total_timesteps=16, {_SHORT})", "cpu: return -"),
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
    assert printed in run(name, call, tmp_path)


def run(name: str, call: str, folder: Path) -> str:
    """What an example prints, outside of the repository."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "examples"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}\n{name}.{call}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.cuda
def test_the_gpu_run_runs_on_a_gpu(tmp_path: Path) -> None:
    """The same program as on a CPU; `cuda` is its default."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    said = run("gpu_run", f"main(episodes=1, total_timesteps=16, {_SHORT})", tmp_path)
    assert "cuda: return -" in said
