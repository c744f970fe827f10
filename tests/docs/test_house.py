"""The architecture: which package may import which, and how large folders and files may be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from Common.places import ROOT
from tests.docs.import_graph import circles, import_graph

# A package imports only packages of a lower floor, and itself.
FLOORS = {
    "Common": 0,
    "Enviroment": 1,
    "Models": 2,
    "Algorithm": 3,
    "Evaluation": 4,
    "Distillation": 5,
    "Train_Teacher": 5,
    "Sharing": 5,
    "vision_distillation": 6,
}
MAX_MODULES, MAX_LINES = 16, 400


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports from the same or a higher floor. A `__main__` is a command, and imports any."""
    found = []
    for module, imported in sorted(graph.items()):
        package, is_command = module.partition(".")[0], module.endswith(".__main__")
        for other in sorted(imported):
            theirs = other.partition(".")[0]
            if theirs != package and FLOORS[theirs] >= FLOORS[package] and not is_command:
                found.append(f"{module} -> {other}")
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT, tuple(FLOORS))


def source_files(pattern: str) -> list[Path]:
    folders = (ROOT / name for name in (*FLOORS, "benchmarks", "examples", "tests"))
    return sorted(path for folder in folders for path in folder.rglob(pattern))


def test_no_module_imports_upward(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 100  # or nothing was read
    assert upward(graph) == []


def test_no_circle_of_imports(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_every_package_tells_type_checkers_that_it_has_types() -> None:
    """Without the file, mypy takes what `vision_distillation` passes on from them as Any."""
    assert [name for name in FLOORS if not (ROOT / name / "py.typed").is_file()] == []


def test_no_folder_is_crowded() -> None:
    modules = [path for path in source_files("*.py") if path.name != "__init__.py"]
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules)
    assert {folder: n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_no_file_is_long() -> None:
    files = [path for kind in ("py", "js", "css") for path in source_files(f"*.{kind}")]
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in files
    }
    assert len(lines) > 200
    assert {path: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_wrong_imports_are_found(tmp_path: Path) -> None:
    """In a house of three rooms: one import up, one within a function, one for types alone."""
    for path, text in {
        "Common/__init__.py": "",
        "Common/low.py": "from Models.high import thing",
        "Models/__init__.py": "",
        "Models/high.py": "def thing():\n    import Common.low",
        "Models/__main__.py": "from Algorithm import first",
        "Algorithm/__init__.py": "",
        "Algorithm/first.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from Models import high\n"
            "else:\n    import Algorithm.second"
        ),
        "Algorithm/second.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    graph = import_graph(tmp_path, ("Common", "Models", "Algorithm"))
    assert upward(graph) == ["Common.low -> Models.high"]
    assert circles(graph) == [["Common.low", "Models.high"]]
    assert graph["Algorithm.first"] == {"Algorithm.second"}
