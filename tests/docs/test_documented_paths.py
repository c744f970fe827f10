"""Files, folders, modules, names and links in the documents exist."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator

import pytest

from Common.places import ROOT
from tests.docs.documented_commands import documents, fences
from tests.docs.test_house import FLOORS

PAGES = sorted({*documents(), "CONTRIBUTING.md", "Results/README.md"})
_ROOMS = "|".join((*FLOORS, "benchmarks", "tests", "docs"))
_PATH = re.compile(rf"(?<![\w/.])((?:{_ROOMS})/[\w./-]*)(?![\w<{{*])")
# Pages that `make docs` writes, and ids of environments.
_ELSEWHERE = re.compile(r"docs/api/.*|vision_distillation/[\w-]+-v0")
_DOTTED = re.compile(rf"(?<![\w/.:])((?:{'|'.join(FLOORS)})(?:\.\w+)+)")
_LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def paths(text: str) -> set[str]:
    """What looks like a file or folder of the checkout; a run's own files are not in it."""
    found = {path.rstrip(".") for path in _PATH.findall(text)}
    return {path for path in found if not _ELSEWHERE.fullmatch(path)}


def exists(dotted: str) -> bool:
    """Whether a module, or a name in a module, is there."""
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (
        re.sub(r"[^\w\- ]", "", t.lower()) for t in _HEADING.findall((ROOT / page).read_text())
    )
    return {title.strip().replace(" ", "-") for title in titles}


def imports(page: str) -> Iterator[str]:
    """What the page's programs import of the packages, as dotted names."""
    for fence in fences(page):
        if fence.language == "python":
            for node in ast.walk(ast.parse(fence.text)):
                module = getattr(node, "module", None) or ""
                if isinstance(node, ast.ImportFrom) and module.partition(".")[0] in FLOORS:
                    yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    missing = {path for path in paths(text) if not (ROOT / path).exists()}
    assert sorted(missing) == []
    names = {*_DOTTED.findall(text), *imports(page)}
    assert sorted(name for name in names if not name.endswith(".py") and not exists(name)) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in _LINK.findall((ROOT / page).read_text()):
        place = (ROOT / page).parent / target if target else ROOT / page
        assert place.exists(), target
        if anchor:
            assert anchor in anchors(place.relative_to(ROOT).as_posix()), f"{target}#{anchor}"


def test_wrong_names_are_found() -> None:
    assert paths("`Algorithm/no_such.py`, Results/x and `docs/design.md`.") == {
        "Algorithm/no_such.py",
        "docs/design.md",
    }
    assert exists("Algorithm.on_policy.ppd.PPD.train")
    assert not exists("Algorithm.on_policy.no_such")
    assert not exists("Algorithm.on_policy.ppd.NoSuch")
