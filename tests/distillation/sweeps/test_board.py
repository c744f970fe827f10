"""Figures of finished runs on a sweep's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from Distillation.sweeps.board import _figures


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"return": -26.1, "teacher_return": -25.7, "skill": 0.95}', ("-26.10", "", "0.950")),
        ('{"return": 90, "teacher_return": 100}', ("90.00", "0.900", "")),
        ('{"return": -26.1, "skill": null}', ("-26.10", "", "")),
        ('{"return": "much"}', ("", "", "")),
        ('{"return": -26.1', ("", "", "")),
        (None, ("", "", "")),
    ],
)
def test_a_damaged_file_costs_its_figures_only(
    text: str | None, shown: tuple[str, str, str], tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "evaluation.json").write_text(text)
    assert _figures(tmp_path) == shown
