"""OpenMP's threads wait briefly in trainings, unless the user has chosen otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Common import openmp
from Common.openmp import SPIN_COUNT, prepare_openmp

# OpenMP prints its settings when it is loaded.
_LOADED = """
import sys
from Common.openmp import prepare_openmp

assert "torch" not in sys.modules
prepare_openmp()
import torch
"""


def without_choice() -> dict[str, str]:
    """Return the environment without settings of OpenMP."""
    return {name: value for name, value in os.environ.items() if "OMP_" not in name}


def printed(**environment: str) -> str:
    """Return what OpenMP prints in a new process."""
    result = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env={**without_choice(), "OMP_DISPLAY_ENV": "VERBOSE", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stderr


needs_gnu = pytest.mark.skipif(
    not list(Path(pytest.importorskip("torch").__file__).parent.glob("lib/libgomp*")),
    reason="torch of this platform has another OpenMP",
)


@needs_gnu
def test_openmp_reads_it() -> None:
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in printed()


@needs_gnu
@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"GOMP_SPINCOUNT": "77"}, "GOMP_SPINCOUNT = '77'"),
        ({"OMP_WAIT_POLICY": "passive"}, "GOMP_SPINCOUNT = '0'"),
    ],
)
def test_the_choice_of_the_user_stays(environment: dict[str, str], line: str) -> None:
    assert line in printed(**environment)


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ({}, {"GOMP_SPINCOUNT": str(SPIN_COUNT)}),
        ({"OMP_WAIT_POLICY": "active"}, {}),
        ({"GOMP_SPINCOUNT": "5"}, {}),
    ],
)
def test_what_is_set(
    before: dict[str, str], added: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(openmp, "has_quota", lambda: False)
    prepare_openmp()
    assert environment == before | added


@needs_gnu
@pytest.mark.parametrize("script", ["Distillation/Pusher.py --PPD", "Train_Teacher/Pusher.py"])
def test_trainings_call_it_before_torch_is_loaded(script: str) -> None:
    """The missing device is found with torch."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, *script.split(), "--device", "cuda:99"],
        cwd=root,
        env={**without_choice(), "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in result.stderr
