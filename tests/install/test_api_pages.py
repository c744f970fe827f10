"""`make docs` writes pages that hold what the docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from Common.places import ROOT


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "install" / "api_pages.py"
    return subprocess.run(
        [sys.executable, script, *words], capture_output=True, text=True, check=False
    )


def test_pages_are_written(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    packages = ("vision_distillation", "Common.places")
    done = run("--output", tmp_path / "api", "--packages", *packages)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "api" / "index.html"))
    front = (tmp_path / "api" / "vision_distillation.html").read_text()
    for name in ("distil", "Student", "clone", "make_env", "ArraySamples"):  # imported when used
        assert f'id="{name}"' in front
    assert (tmp_path / "api" / "vision_distillation" / "gym_envs.html").is_file()
    places = (tmp_path / "api" / "Common" / "places.html").read_text()
    assert "is found from any folder" in places


def test_a_module_that_is_missing_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    done = run("--output", tmp_path / "api", "--packages", "Common.nothing")
    assert done.returncode != 0
    assert "Common.nothing" in done.stderr
