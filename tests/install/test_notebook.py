"""The tutorial notebook runs from its first cell to its last, in an empty folder and home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from Common.places import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
# Jupyter shows the value of a cell's last expression; here it is computed alone.
AFTER = """
assert total > -45, total  # doing nothing gives -54.6
assert set(figures) >= {"skill", "teacher_return"} and figures["episodes"] == 2
assert student.folder is not None and (student.folder / "metrics.jsonl").is_file()
"""


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_it_is_stored_without_outputs() -> None:
    assert len(cells("code")) >= 5
    assert len(cells("markdown")) >= 5
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells("code"))
    ids = [cell["id"] for kind in ("code", "markdown") for cell in cells(kind)]
    assert len(ids) == len(set(ids))  # as nbformat 4.5 requires


def test_it_runs(tmp_path: Path) -> None:
    program = tmp_path / "notebook.py"
    sources = ["".join(cell["source"]) for cell in cells("code")]
    program.write_text("\n\n".join([*sources, AFTER]))
    own = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, **own, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "return -" in done.stdout
    assert "my_first_student" in done.stdout
