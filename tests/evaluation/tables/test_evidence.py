"""The list of tables and figures: complete, with data, and with numbers that follow from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from Common.errors import UserError
from Evaluation.evidence.__main__ import EvidenceFlags
from Evaluation.evidence.checks import repeat, shows, wrong_numbers
from Evaluation.evidence.items import data_hash, read_items
from Evaluation.evidence.listing import show_evidence

ROOT = Path(__file__).parents[3]
PAGE = """# Arm

## Methods

| method | skill | each run |
|---|---|---|
| PPD | **0.75** | 0.70, 0.80 |
| the teacher | 1 | |
"""
DATA = "method,run_index,skill\nPPD,0,0.701\nPPD,1,0.8\nBC,0,0.9\n"
LIST = """items:
  - page: Results/README.md
    section: Methods
    command: make pusher
    data: [Results/methods.csv]
    rows: {method: method}
    means: {skill: skill}
    runs: {each run: skill}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "Results").mkdir()
    (tmp_path / "Results" / "README.md").write_text(PAGE)
    (tmp_path / "Results" / "methods.csv").write_text(DATA)
    (tmp_path / "Results" / "evidence.yaml").write_text(LIST)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_table_and_figure_of_the_project_is_listed_and_right(capsys):
    show_evidence(EvidenceFlags(ROOT))
    told = capsys.readouterr().out
    assert "Results/Pusher/methods.csv  sha256 " in told
    assert "data     not kept" in told


@pytest.mark.parametrize(
    "item", [i for i in read_items(ROOT) if i.redraws], ids=lambda item: item.title
)
def test_what_can_be_drawn_again_is_the_same(item, tmp_path):
    assert repeat(ROOT, item, tmp_path) == ""


def test_right_numbers_pass(small, capsys):
    show_evidence(EvidenceFlags(small))
    assert "1 item, 1 of them computed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("**0.75**", "**0.76**", "PPD, skill: 0.76, but the data have 0.7505"),
        ("0.70, 0.80", "0.80, 0.70", "PPD, each run: 0.80, 0.70, but the data have 0.7010, 0.8000"),
        ("0.70, 0.80", "0.70", "each run: 0.70, but"),
        ("| PPD", "| DAgger", "no row of the table is in Results/methods.csv"),
        ("| skill |", "| Skill |", "no table has the columns each run, method, skill"),
        ("# Arm", "# Arm\n\n![curves](curves.png)", "Not in the list: Results/curves.png"),
        (
            "# Arm",
            "# Arm\n\n## More\n\n| a |\n|---|\n| 1 |",
            "Not in the list: Results/README.md: More",
        ),
    ],
)
def test_a_page_that_differs_from_its_data_is_an_error(small, old, new, told):
    edit(small / "Results" / "README.md", old, new)
    with pytest.raises(UserError) as error:
        show_evidence(EvidenceFlags(small))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("methods.csv", "nowhere.csv", "there are no data at Results/nowhere.csv"),
        ("means:", "mean:", "has no key mean"),
        ("    command: make pusher\n", "", "command"),
        ("[Results/methods.csv]", "Results/methods.csv", "data"),
        ("items:", "items: [", "is not YAML"),
    ],
)
def test_a_damaged_list_is_an_error(small, old, new, told):
    edit(small / "Results" / "evidence.yaml", old, new)
    with pytest.raises(UserError, match=told):
        show_evidence(EvidenceFlags(small))


def test_the_hash_changes_with_the_data(small):
    (item,) = read_items(small)
    before = data_hash(small, item)
    assert before == data_hash(small, item)
    edit(small / "Results" / "methods.csv", "0.9", "0.8")
    assert data_hash(small, item) != before
    assert not list(wrong_numbers(small, item))  # the row of BC is not in the table


def test_a_command_is_repeated_and_compared(small):
    script = small / "print.py"
    script.write_text("print('| PPD | **0.75** | 0.70, 0.80 |')")
    edit(small / "Results" / "evidence.yaml", "make pusher", "python print.py\n    redraws: true")
    (item,) = read_items(small)
    assert repeat(small, item, small / "drawn") == ""
    script.write_text("print('| PPD | 0.9 |')")
    assert "is not in Results/README.md" in repeat(small, item, small / "drawn")
    script.write_text("raise SystemExit('no runs')")
    assert "failed: no runs" in repeat(small, item, small / "drawn")


def test_a_figure_is_drawn_again_and_compared(small):
    figure = ROOT / "Results" / "Reacher" / "methods.png"
    shutil.copy(figure, small / "Results" / "curves.png")
    (small / "draw.py").write_text(f"import shutil, sys\nshutil.copy({str(figure)!r}, sys.argv[2])")
    (small / "Results" / "evidence.yaml").write_text(
        "items:\n  - page: Results/README.md\n    section: Methods\n    redraws: true\n"
        "    figure: Results/curves.png\n"
        "    command: python draw.py --output Results/curves.png\n"
    )
    (item,) = read_items(small)
    assert repeat(small, item, small / "drawn") == ""
    other = ROOT / "Results" / "HalfCheetah" / "students.png"
    shutil.copy(other, small / "Results" / "curves.png")
    assert "pixels" in repeat(small, item, small / "drawn")


@pytest.mark.parametrize(
    ("text", "value", "right"),
    [
        ("0.75", 0.754, True),
        ("0.75", 0.756, False),
        ("12%", 0.1249, True),
        ("12%", 0.13, False),
        ("1,200", 1200.0, True),
        ("-27.69", -27.694, True),
        ("", 1.0, False),
        ("many", 1.0, False),
    ],
)
def test_a_cell_is_a_rounded_value(text, value, right):
    assert shows(text, value) is right
