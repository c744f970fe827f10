"""The table of environments that people bring, and the commands that try them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from benchmarks.environments.__main__ import Arguments, chosen, main
from benchmarks.environments.page import PAGE, RECORD, tables
from benchmarks.environments.rows import ROWS, Row
from benchmarks.environments.steps import steps
from Common.errors import UserError
from Common.places import ROOT
from tests.docs.documented_flags import complaint

FOLDER = Path("build/environments/x")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_commands_of_a_row_are_understood(row: Row) -> None:
    titles = [step.title for step in steps(row, FOLDER)]
    assert titles[-3:] == ["look", "student", "evaluate"]
    for step in steps(row, FOLDER):
        if step.title != "agent":  # is no command of the toolkit
            assert complaint(("python", *step.words)) == "", step


def test_every_group_of_packages_has_a_file_and_a_row() -> None:
    files = {path.stem for path in (ROOT / "install/environments").glob("*.txt")}
    assert files == {row.packages for row in ROWS} - {"none"}
    assert {path.stem for path in (ROOT / "install/environments").glob("*.no-deps")} <= files


def test_the_page_shows_the_rows_and_what_was_recorded() -> None:
    record = json.loads((ROOT / RECORD).read_text())
    assert record.keys() <= {row.name for row in ROWS}
    assert not [name for name, figures in record.items() if "failed" in figures]
    text = (ROOT / PAGE).read_text()
    for mark, table in tables(record).items():
        assert f"<!-- {mark} -->\n{table}<!-- end -->" in text, (
            "Run python -m benchmarks.environments --table."
        )


def test_every_result_has_its_section_and_curves() -> None:
    text = (ROOT / "Results/Environments/README.md").read_text()
    for name in {row.learned for row in ROWS if row.learned}:
        assert f"\n## {name}\n" in text
        assert (ROOT / f"Results/Environments/{name}.png").is_file()


def test_a_row_says_what_was_reached_or_why_not() -> None:
    with pytest.raises(ValueError, match="either a note or a result"):
        Row("X", "none", "X-v0", "ppo", "frames")


def test_rows_are_chosen_by_name_and_by_packages() -> None:
    assert [row.name for row in chosen(Arguments(only=("MiniGrid",)))] == ["MiniGrid"]
    assert chosen(Arguments(only=("MiniGrid",), packages="bullet")) == []
    assert {row.packages for row in chosen(Arguments(packages="bullet"))} == {"bullet"}
    with pytest.raises(UserError, match="MiniGird: did you mean MiniGrid"):
        chosen(Arguments(only=("MiniGird",)))


def test_a_row_whose_command_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("Lost", "none", "No-Such-v0", "ppo", "nothing", note="It does not exist.")
    monkeypatch.setattr("benchmarks.environments.__main__.ROWS", (row,))
    with pytest.raises(UserError, match="Failed: Lost"):
        main(Arguments(output=tmp_path))
    said = capsys.readouterr()
    assert "No-Such" in said.err
    assert json.dumps({"failed": "teacher"}) in said.out
    log = (tmp_path / "Lost" / "teacher.log").read_text()
    assert shlex.split(log)[:4] == ["python", "Train_Teacher/Custom.py", "--env_id", "No-Such-v0"]
